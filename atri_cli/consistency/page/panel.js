// A concept, opened: its texts, ranks, the language that stands apart, and what each one found.

const PAUSE_SLACK = 0.3; // seconds: how exactly browsers stop at the end of a span
let playing = null;

/** Built when it is opened and thrown away when it is closed, so that a large report stays light. */
function panel(query, width) {
  const hits = data.hits[query.id] ?? {};
  const letters = lettersOf(hits);
  const cards = report.languages
    .filter((tag) => tag in query.texts)
    .map((tag) => card(query, tag, hits[tag] ?? [], letters));
  const content = make(
    "div",
    { class: "inside" },
    make("p", { class: "why" }, ...why(query)),
    make("p", { class: "hint" }, about(query, hits)),
    make("div", { class: "cards" }, ...cards),
  );
  return make("tr", { class: "panel", id: `panel-${anchor(query)}` }, make("td", { colspan: width }, content));
}

function why(query) {
  const odd = query.outlier;
  if (!odd) return ["No language stands apart."];
  const said = [make("strong", {}, names.get(odd.language)), " stands apart"];
  const ranks = Object.values(query.ranks);
  if (ranks.length) {
    const rank = number(query.ranks[odd.language], 0);
    said.push(`: it ranks the right file ${rank}, the median is ${number(median(ranks), 1)}`);
  } else {
    said.push(": its first files are the least like those of the others");
  }
  if (odd.cosine === null || odd.others === null) return [...said, "."];
  const numbers = `(cosine with the others ${number(odd.cosine)}, theirs ${number(odd.others)})`;
  return odd.others - odd.cosine >= FAR
    ? [...said, `. The model takes its text for something else ${numbers}: is the word ambiguous, `
        + "or does the translation mean another thing?"]
    : [...said, `. Its text means the same to the model ${numbers}: files of nearly the same score `
        + "have changed places."];
}

function about(query, hits) {
  const right = known ? `${counted(query.right, "right file")}. ` : "";
  if (Object.keys(hits).length) {
    return `${right}Equal letters are the same file. Players read the sounds from where they were `
      + "indexed.";
  }
  return `${right}Players are only kept for the concepts whose languages disagree most.`;
}

/** A letter for each file: those that come first in more languages first. */
function lettersOf(hits) {
  const counts = new Map();
  for (const list of Object.values(hits)) {
    for (const [file] of list) counts.set(file, (counts.get(file) ?? 0) + 1);
  }
  const files = [...counts].sort((one, other) => other[1] - one[1]);
  return new Map(files.map(([file, count], place) => [file, { name: letter(place), count, place }]));
}

function letter(place) {
  const name = String.fromCharCode(65 + (place % 26));
  return place < 26 ? name : letter(Math.floor(place / 26) - 1) + name;
}

function card(query, tag, hits, letters) {
  const odd = query.outlier && query.outlier.language === tag;
  const rank = query.ranks[tag];
  const place = rank ? make("span", { class: "rank" }, "rank ", make("b", {}, number(rank, 0))) : null;
  const head = make("span", {}, make("span", { class: "chip" }, tag), ` ${names.get(tag)}`);
  return make(
    "section",
    { class: odd ? "hits odd" : "hits", "aria-label": names.get(tag) },
    make("p", { class: "head" }, head, place),
    make("p", { class: "asked" }, quoted(query.texts[tag], tag)),
    hits.length ? make("ol", {}, ...hits.map((hit) => hitItem(hit, letters))) : null,
  );
}

function hitItem([file, start, end, score, right], letters) {
  const [root, name, path] = data.files[file];
  const source = `${data.roots[root][1]}${path}#t=${start},${end}`;
  const { name: sign, count, place } = letters.get(file);
  const badge = make("span", { class: count > 1 ? `badge shade-${place % 6}` : "badge" }, sign);
  const said = `${clock(start)}-${clock(end)} · cosine ${number(score)}`;
  const short = name.split("/").at(-1);
  const full = `${data.roots[root][0]}${name}`;
  return make(
    "li",
    {},
    make("p", { class: "file", title: full }, badge, make("bdi", {}, short), right ? mark() : null),
    make("p", { class: "time" }, said),
    player(source, start, end, `${short}, ${clock(start)} to ${clock(end)}`),
  );
}

function mark() {
  return make("span", { class: "right", title: "a right answer" }, " ✓ right");
}

function player(source, start, end, label) {
  const stop = ({ target }) => {
    if (Math.abs(target.currentTime - end) < PAUSE_SLACK) target.currentTime = start;
  };
  const play = ({ target }) => {
    if (playing && playing !== target) playing.pause();
    playing = target;
  };
  const fail = ({ target }) => {
    const said = "This browser cannot play it, or it is no longer there.";
    target.replaceWith(make("p", { class: "failed" }, said));
  };
  const on = { play, pause: stop, error: fail };
  return make("audio", { controls: true, preload: "none", src: source, "aria-label": label, ...on });
}
