// Tables whose headers are buttons that sort.

const RISING = "ascending";
const FALLING = "descending";

/**
 * A table.
 *
 * columns: `name`; `value(row)` to sort by, a number, text or null; `show(value)` its text, or
 *   `cell(row)` its content; `first`, the order of a first click; `about`, in a few words.
 * rows: any objects; each gets `line`, its <tr>. A row's `panel`, another <tr>, follows it.
 * Empty values come last in either order; equal ones stay in the order of `rows`.
 */
function sortable(columns, rows, { caption, foot = null }) {
  const body = make("tbody");
  const heads = columns.map((column) => {
    const press = () => sort(column);
    const button = make("button", { type: "button", click: press, title: column.about }, column.name);
    column.numeric = rows.some((row) => typeof column.value(row) === "number");
    return make("th", { scope: "col", class: column.numeric ? "number" : "" }, button);
  });
  for (const row of rows) row.line = line(columns, row);

  function sort(column) {
    const head = heads[columns.indexOf(column)];
    const first = column.first ?? (column.numeric ? FALLING : RISING);
    const other = first === RISING ? FALLING : RISING;
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const one of heads) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === RISING ? 1 : -1;
    place([...rows].sort((one, two) => compare(column.value(one), column.value(two), sign)));
  }

  function place(list) {
    body.append(...list.flatMap((row) => (row.panel ? [row.line, row.panel] : [row.line])));
  }

  place(rows);
  const element = make(
    "table",
    {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...heads)),
    body,
    foot && make("tfoot", {}, line(columns, foot)),
  );
  return { element, rows };
}

function line(columns, row) {
  const cells = columns.map((column, place) => {
    const content = column.cell ? column.cell(row) : (column.show ?? String)(column.value(row));
    if (!place) return make("th", { scope: "row" }, content);
    return make("td", { class: column.numeric ? "number" : "" }, content);
  });
  return make("tr", {}, ...cells);
}

function compare(one, other, sign) {
  const gone = (value) => value === null || value === undefined || value === "";
  if (gone(one) || gone(other)) return Number(gone(one)) - Number(gone(other));
  if (typeof one === "number") return sign * (one - other);
  return sign * String(one).localeCompare(String(other), "en", { numeric: true });
}
