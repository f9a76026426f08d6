// One row a language, and languages against languages.

function languageTable() {
  const rows = report.languages.map((tag) => ({ tag, ...report.per_language[tag] }));
  const language = {
    name: "Language",
    value: (row) => names.get(row.tag) ?? row.tag,
    cell: (row) => {
      if (!row.tag) return "mean";
      return make("span", {}, make("span", { class: "chip" }, row.tag), ` ${names.get(row.tag)}`);
    },
  };
  const measured = [["R@1", "r1"], ["R@5", "r5"], ["R@10", "r10"], ["mAP@10", "map10"]];
  const right = measured.map(([name, key]) => ({
    name,
    value: (row) => row[key],
    cell: (row) => withBounds(row[key], row.intervals && row.intervals[key]),
  }));
  const toEnglish = known ? report.gap.to_english : {};
  const others = [
    {
      name: "Median rank", first: RISING, value: (row) => row.median_rank,
      show: (value) => (value === null ? NOTHING : number(value, value % 1 ? 1 : 0)),
    },
    {
      name: "vs English", about: "mAP@10 over that of English", show: number,
      value: (row) => (toEnglish[row.tag] || {}).map10 ?? null,
    },
  ];
  const agree = [
    {
      name: `Overlap@${depth}`, about: "mean with the other languages", show: number,
      value: (row) => row.overlap,
    },
    {
      name: "Text cosine", about: "mean with the other languages' texts", show: number,
      value: (row) => row.cosine,
    },
  ];
  const columns = known ? [language, ...right, ...others, ...agree] : [language, ...agree];
  const mean = known ? report.mean : {};
  const foot = { ...mean, overlap: agreement.overlap, cosine: agreement.cosine };
  const caption = "Each language; a header sorts";
  byId("languages-hint").append(
    (known ? "How well each language finds what is right, and " : "")
      + "how far it agrees with the others.",
  );
  byId("language-table").append(sortable(columns, rows, { caption, foot }).element);
}

function withBounds(value, bounds) {
  return make("span", {}, number(value), make("small", {}, interval(bounds)));
}

const MEASURES = {
  overlap: [`Overlap@${depth}`, "share of their first files in common", number],
  rbo: ["RBO", "overlap in which the first places weigh most", number],
  tau: ["Kendall's tau", "whether they order what they found alike", number],
  top1: ["Top-1", "how often they put the same file first", number],
  cosine: ["Text cosine", "how alike the model takes their texts to be", number],
  rank_difference: [
    "Rank difference", "how many ranks the right file lies apart, on average", figures,
  ],
};
const LEAST_RANGE = 0.1; // of the colours: differences too small to matter shall not look large

function measures() {
  const there = Object.keys(MEASURES).filter((key) => {
    return report.pairs.some((pair) => pair[key] !== null && pair[key] !== undefined);
  });
  for (const key of there) {
    byId("measure").append(make("option", { value: key }, MEASURES[key][0]));
  }
  byId("measure").addEventListener("change", () => matrix(byId("measure").value));
  if (there.length) matrix(there[0]);
}

function matrix(key) {
  const [name, about, show] = MEASURES[key];
  const values = new Map();
  for (const pair of report.pairs) {
    if (pair[key] === null) continue;
    const [one, other] = pair.languages;
    values.set(`${one} ${other}`, pair[key]).set(`${other} ${one}`, pair[key]);
  }
  const tags = report.languages;
  const all = [...values.values()];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const width = Math.max(high - low, key === "rank_difference" ? 1 : LEAST_RANGE);
  const turned = key === "rank_difference"; // the less, the more they agree
  const share = (value) => (turned ? (low + width - value) / width : 1 - (high - value) / width);
  const head = tags.map((tag) => make("th", { scope: "col", title: names.get(tag) }, tag));
  const rows = tags.map((one) => {
    const cells = tags.map((other) => cell(one, other, values.get(`${one} ${other}`), share, show));
    const header = make("th", { scope: "row", title: names.get(one) }, one);
    return make("tr", {}, header, ...cells);
  });
  const table = make(
    "table",
    { class: `matrix${tags.length > 14 ? " many" : ""}` },
    make("caption", {}, `${name} of every two languages`),
    make("thead", {}, make("tr", {}, make("td"), ...head)),
    make("tbody", {}, ...rows),
  );
  byId("matrix").replaceChildren(table);
  byId("measure-hint").textContent = `${about}; ${extremes(values, turned, show)}`;
  scale(turned ? [low + width, low] : [high - width, high], show);
}

function cell(one, other, value, share, show) {
  if (one === other) return make("td", { class: "self", "aria-label": "the same language" });
  if (value === undefined) return make("td", { class: "none" }, NOTHING);
  const title = `${names.get(one)} and ${names.get(other)}: ${show(value)}`;
  const found = make("td", { class: "heat", title }, show(value));
  found.style.setProperty("--t", `${(100 * share(value)).toFixed(1)}%`);
  return found;
}

function extremes(values, turned, show) {
  const sorted = [...values].sort((one, other) => one[1] - other[1]);
  if (turned) sorted.reverse();
  const said = ([pair, value]) => `${pair.replace(" ", "–")} ${show(value)}`;
  return `furthest apart ${said(sorted[0])}, closest ${said(sorted.at(-1))}.`;
}

function scale([far, near], show) {
  const steps = [0, 25, 50, 75, 100].map((at) => {
    const step = make("i", { class: "heat" });
    step.style.setProperty("--t", `${at}%`);
    return step;
  });
  byId("scale").replaceChildren(
    make("span", {}, `apart ${show(far)}`), ...steps, make("span", {}, `${show(near)} alike`),
  );
}
