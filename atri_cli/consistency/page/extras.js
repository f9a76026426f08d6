// What some reports have besides: limits that were to be kept, and an earlier report.

function limits() {
  if (!report.limits || !report.limits.length) return;
  const lines = report.limits.map((one) => {
    const sign = one.limit === "max-mrv" ? "at most" : "at least";
    const said = `${one.limit}: ${number(one.value, 4)}, to be ${sign} ${one.bound}`;
    const blamed = [...one.languages, ...one.concepts].join(", ");
    const state = make("strong", { class: one.holds ? "kept" : "broken" }, one.holds ? "kept" : "broken");
    return make("li", {}, state, ` ${said}${blamed ? ` (${blamed})` : ""}`);
  });
  byId("extras").append(make("h3", {}, "Limits"), make("ul", { class: "plain" }, ...lines));
}

function comparison() {
  const found = report.comparison;
  if (!found) return;
  const columns = [
    { name: "Measure", value: (row) => row.name },
    { name: "Before", value: (row) => row.before, show: (value) => number(value, 4) },
    { name: "After", value: (row) => row.after, show: (value) => number(value, 4) },
    { name: "Difference", value: (row) => row.difference, show: (value) => number(value, 4) },
    {
      name: "95\u00a0% interval", value: (row) => row.interval && row.interval[0],
      cell: (row) => interval(row.interval, (value) => number(value, 4)),
    },
  ];
  const rows = Object.entries(found.measures).map(([name, one]) => ({ name, ...one }));
  const caption = `Against ${found.with}: ${counted(found.rows, "concept")}, `
    + `${counted(found.languages.length, "language")}`;
  const said = [["Better", found.better], ["Worse", found.worse]]
    .filter(([, ids]) => ids.length)
    .map(([word, ids]) => make("p", { class: "hint" }, `${word}: ${ids.join(", ")}`));
  byId("extras").append(
    make("h3", {}, "Compared"),
    make("div", { class: "wide" }, sortable(columns, rows, { caption }).element),
    ...said,
  );
}
