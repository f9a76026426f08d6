// What was asked of what, and the figures that sum it up.

const agreement = report.agreement;
const depth = report.k;
const range = (show) => (bounds) => interval(bounds, show);

function lead() {
  const count = report.languages.length;
  const parts = [];
  const mrv = report.mrv;
  if (known && mrv.normalised !== null) {
    const [low, high] = mrv.interval.map((at) => (at === null ? NOTHING : percent(at)));
    parts.push(
      `Asked in ${count} languages, the rank of the right file varies `,
      make("strong", {}, percent(mrv.normalised)),
      ` as much as it would by chance (95\u00a0% interval: ${low} to ${high}). `,
    );
    const gap = report.gap;
    if (gap.best && gap.best !== gap.worst) {
      parts.push(`${names.get(gap.best)} finds best, ${names.get(gap.worst)} worst. `);
    }
  } else {
    parts.push(`Asked in ${count} languages. `);
  }
  if (agreement.overlap !== null) {
    parts.push("Two languages share ", make("strong", {}, number(agreement.overlap * depth, 1)));
    parts.push(` of their first ${depth} files`);
    parts.push(` and agree on the very first one ${percent(agreement.top1)} of the time.`);
  }
  byId("lead").append(...parts);
}

function facts() {
  const spoken = report.languages.map((tag) => {
    return make("span", { class: "chip", title: names.get(tag) }, tag);
  });
  const truth = known
    ? `known for ${number(report.answered, 0)} of ${counted(report.concepts, "concept")}`
    : "not known: the query file has no column “audio”";
  const sounds = `${counted(report.gallery, "file")} in ${counted(report.segments, "segment")}`;
  const rows = [
    ["Query file", make("code", {}, report.query_file)],
    ["Library", make("span", {}, make("code", {}, report.library), ` ${sounds}`)],
    ["Model", make("span", {}, make("code", {}, report.model), ` ${report.pipeline}`)],
    ["Concepts", number(report.concepts, 0)],
    ["Right answers", truth],
    ["Compared", `the first ${counted(depth, "file")}`],
    ["Remedies", report.remedies.length ? report.remedies.join(", ") : "none"],
    [counted(report.languages.length, "language"), make("span", { class: "tags" }, ...spoken)],
  ];
  if (report.missing.length) rows.push(["Left out", missing()]);
  for (const [name, value] of rows) {
    byId("facts").append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  }
}

function missing() {
  const items = report.missing.map((one) => {
    const why = one.why ? `: ${one.why}` : "";
    return make("li", {}, `line ${one.line}: `, make("code", {}, one.audio), why);
  });
  const title = `${counted(report.missing.length, "right answer")} that the library does not have`;
  return make("details", {}, make("summary", {}, title), make("ul", {}, ...items));
}

/** name, value, its interval, the ends of its bar, how numbers are written, what it means. */
function rightness() {
  const { mrv, mean, gap, wording } = report;
  const four = (value) => number(value, 4);
  const unit = [0, 1];
  const list = [
    {
      name: "MRV, of random", value: mrv.normalised, bounds: mrv.interval, ends: unit, show: four,
      means: "Mean rank variance as a share of what random rankings have: 0 is the same rank in "
        + "every language, 1 is chance.",
    },
    {
      name: "MRV, variance", value: mrv.variance, bounds: mrv.variance_interval, show: figures,
      means: "How far the right file's rank moves between languages: the variance of a concept's "
        + `ranks, averaged (ATRI, 2025). Random rankings of these ${counted(mrv.gallery, "file")} `
        + `would have ${figures(mrv.random_variance)}.`,
    },
    {
      name: "MRV, deviation", value: mrv.std, bounds: mrv.std_interval, show: figures,
      means: "The same in ranks: the standard deviation of a concept's ranks, averaged "
        + "(CCRK, 2024).",
    },
  ];
  if (wording) {
    list.push({
      name: "Wording, of random", value: wording.normalised, ends: unit, show: four,
      means: "The same between phrasings of one language: what mere wording changes "
        + `(${counted(wording.rows, "time")}).`,
    });
  }
  for (const k of [1, 5, 10]) {
    list.push({
      name: `R@${k}`, value: mean[`r${k}`], bounds: mean.intervals[`r${k}`], ends: unit,
      means: k === 1
        ? "Recall: how often a right file comes first. Mean of the languages."
        : `How often a right file is among the first ${k}.`,
    });
  }
  list.push({
    name: "mAP@10", value: mean.map10, bounds: mean.intervals.map10, ends: unit,
    means: "One over the rank of the best right file, 0 beyond rank 10, averaged.",
  });
  if (gap.best) {
    list.push({
      name: "Language gap", value: gap.map10, bounds: gap.intervals.map10, ends: unit,
      means: `mAP@10 of the best language (${names.get(gap.best)}) less that of the worst `
        + `(${names.get(gap.worst)}). In R@10: ${number(gap.r10)}.`,
    });
  }
  return list;
}

function agreements() {
  const bounds = agreement.intervals;
  const beyond = `beyond rank ${report.depth} counts as ${report.depth + 1}`;
  const list = [
    [`Overlap@${depth}`, "overlap", [0, 1],
      `The share of their first ${depth} files that two languages have in common.`],
    ["RBO", "rbo", [0, 1],
      "Overlap in which the first places weigh most (rank-biased overlap, p = 0.9)."],
    ["Kendall's tau", "tau", [-1, 1],
      "Whether two languages put what any of them found in the same order: 1 the same, "
        + "0 unrelated, −1 reversed."],
    ["Top-1", "top1", [0, 1], "How often two languages put the same file first."],
    ["Text cosine", "cosine", [0, 1],
      "How alike the model takes two languages' texts to be, whatever they find."],
    ["Pool rank variance", "pool_variance", null,
      `The variance over languages of the rank of every file that one of them put among its first `
        + `${depth}; ${beyond}. As a deviation: ${figures(agreement.pool_std)} ranks.`],
  ];
  return list.map(([name, key, ends, means]) => {
    const show = ends ? number : figures;
    return { name, value: agreement[key], bounds: bounds[key], ends, means, show };
  });
}

function figureRow({ name, value, bounds, ends, means, show = number }) {
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, name),
    make("td", { class: "number" }, show(value)),
    make("td", { class: "bounds" }, range(show)(bounds)),
    make("td", { class: "drawn" }, ends ? bar(value, bounds, ends) : null),
    make("td", { class: "means" }, means),
  );
}

function group(title, list) {
  const head = make("th", { colspan: 5, scope: "rowgroup", class: "group" }, title);
  return make("tbody", {}, make("tr", {}, head), ...list.map(figureRow));
}

function hero({ name, value, bounds, ends, means, show = number }) {
  return make(
    "div",
    { class: "card" },
    make("p", { class: "name" }, name),
    make("p", { class: "big" }, show(value), " ", make("small", {}, range(show)(bounds))),
    bar(value, bounds, ends),
    make("p", { class: "means" }, means),
  );
}

function figuresPart() {
  const right = known ? rightness() : [];
  const agree = agreements();
  const table = byId("figure-table");
  if (known) table.append(group("Right answers: are they found, in every language alike?", right));
  table.append(group("Agreement: do languages find the same, right or not?", agree));
  const pick = (list, ...wanted) => list.filter((one) => wanted.includes(one.name));
  const chosen = known
    ? [...pick(right, "MRV, of random", "R@10"), agree[0]]
    : pick(agree, `Overlap@${depth}`, "Top-1", "Text cosine");
  byId("hero").append(...chosen.map(hero));
  byId("caution").append(
    known
      ? "Consistency is not quality: a model that answers every question with the same file is "
        + "perfectly consistent. Read MRV and overlap beside recall."
      : "Right answers are not known here, so these figures say whether languages agree, not "
        + "whether what they find is right: a model that answers every question with the same "
        + "file would agree perfectly.",
  );
}
