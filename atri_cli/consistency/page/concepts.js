// The table of concepts, the filter above it, and the start of the page.

const order = new Map(data.worst.map((id, place) => [id, place]));
const queries = [...report.queries].sort((one, other) => order.get(one.id) - order.get(other.id));
const numbers = new Map(queries.map((query, place) => [query, place]));
const first = (query) => Object.entries(query.texts)[0];
let conceptRows = [];

function anchor(query) {
  return `concept-${numbers.get(query)}`;
}

function conceptColumns() {
  const part = (name, key, show = number, about = undefined) => ({
    name, about, show, first: RISING, value: (row) => row.query.agreement[key],
  });
  const rank = (name, about, value) => ({ name, about, value, show: (at) => number(at, 0) });
  const head = { name: "Concept", value: (row) => row.query.id, cell: opener };
  const ends = (row) => Object.values(row.query.ranks);
  const right = [
    {
      ...rank("Best", "best rank", (row) => (ends(row).length ? Math.min(...ends(row)) : null)),
      first: RISING,
    },
    rank("Worst", "worst rank", (row) => (ends(row).length ? Math.max(...ends(row)) : null)),
    {
      name: "Of random", about: "rank variance as a share of chance",
      show: small,
      value: (row) => row.query.normalised,
    },
  ];
  const agree = [
    part(`Overlap@${depth}`, "overlap"),
    part("RBO", "rbo"),
    part("Tau", "tau", number, "Kendall's tau"),
    part("Top-1", "top1"),
    part("Text cosine", "cosine"),
  ];
  const pool = { ...part("Pool variance", "pool_variance", figures), first: FALLING };
  const apart = {
    name: "Apart", about: "the language that stands apart",
    value: (row) => (row.query.outlier ? row.query.outlier.language : null),
    show: (tag) => (tag ? make("span", { class: "chip", title: names.get(tag) }, tag) : NOTHING),
  };
  return known ? [head, ...right, ...agree, apart] : [head, ...agree, pool, apart];
}

function opener(row) {
  const { query } = row;
  const [tag, text] = first(query);
  const content = [make("span", { class: "id", dir: "auto" }, query.id), quoted(text, tag)];
  const id = anchor(query);
  const controls = { "aria-expanded": "false", "aria-controls": `panel-${id}` };
  row.button = make("button", { type: "button", id, ...controls, click: () => toggle(row) }, ...content);
  return row.button;
}

function toggle(row, open = !row.panel) {
  row.button.setAttribute("aria-expanded", String(open));
  if (!open && row.panel) {
    if (playing && row.panel.contains(playing)) playing.pause();
    row.panel.remove();
    row.panel = null;
  } else if (open && !row.panel) {
    row.panel = panel(row.query, row.line.children.length);
    row.line.after(row.panel);
  }
}

/** From the plot to the open concept. */
function jump(event, query) {
  event.preventDefault();
  const row = conceptRows[numbers.get(query)];
  toggle(row, true);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  row.button.focus({ preventScroll: true });
  row.line.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
}

function conceptsPart() {
  const rows = queries.map((query) => ({ query, panel: null, words: searched(query) }));
  const caption = "Each concept, the most divided first; a header sorts, a name opens";
  const made = sortable(conceptColumns(), rows, { caption });
  conceptRows = made.rows;
  byId("concept-table").append(made.element);
  byId("concepts-hint").append(
    "A name opens the texts, the ranks, and what each language found first, to listen to.",
  );
  byId("filter").addEventListener("input", filter);
  filter();
}

function searched(query) {
  return plain([query.id, ...Object.values(query.texts)].join("\n"));
}

/** Without capitals and accents: `Pájaro` is found by `pajaro`. */
function plain(text) {
  return text.normalize("NFD").replace(/\p{Mn}/gu, "").normalize("NFC").toLowerCase();
}

function filter() {
  const wanted = plain(byId("filter").value.trim());
  const found = [];
  for (const row of conceptRows) {
    const fits = row.words.includes(wanted);
    if (!fits) toggle(row, false);
    row.line.hidden = !fits;
    if (fits) found.push(row.query);
  }
  const all = counted(queries.length, "concept");
  byId("found").textContent = wanted ? `${number(found.length, 0)} of ${all}` : all;
  byId("nothing").hidden = found.length > 0;
  byId("concept-table").hidden = byId("spread").hidden = !found.length;
  plot(found);
}

lead();
facts();
figuresPart();
limits();
comparison();
languageTable();
measures();
spreadPart();
conceptsPart();
byId("footer").append(
  `Made by atri, schema ${report.schema}. Nothing on this page comes from a network; the players `
    + "read sounds from this computer.",
);
