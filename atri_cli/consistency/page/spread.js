// One line a concept: with right answers a dot for each language's rank, else how much they agree.

const FIRST_LINES = 40;
const LINE = 24;
const HEAD = 30;
const LABEL = 172; // where names end, on a screen that has room
const GAP = 38; // from there to the axis
const TAIL = 74;
const LETTER = 6.9;
const PILE = 5; // dots of one rank that are told apart
const shown = { all: false, lit: null, queries: [] };

function spreadPart() {
  byId("spread-title").append(known ? "Spread of ranks" : "Overlap of each concept");
  byId("spread-hint").append(
    known
      ? "Where each language ranks the right file, from 1 to N on a logarithmic scale; the "
        + "languages that disagree most first. Close together is consistent, to the left is right. "
        + "The language that stands apart is named; the stroke is the median, the number the "
        + `rank variance as a share of chance. Shaded: the first ${depth}. Press a language to see where `
        + "it ranks them."
      : `Filled dot: the share of their first ${depth} files that two languages have in common, `
        + "averaged. Ring: the cosine of their texts. Little in common and a low cosine: the texts "
        + "ask for different things. Least agreement first.",
  );
  if (known) chips();
  byId("more").addEventListener("click", () => {
    shown.all = !shown.all;
    plot(shown.queries);
  });
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.abs(contentRect.width - width) < 2) return;
    width = contentRect.width;
    plot(shown.queries);
  }).observe(byId("plot").parentElement);
}

function chips() {
  for (const tag of report.languages) {
    const press = (event) => {
      const on = shown.lit !== tag;
      for (const chip of byId("chips").children) chip.setAttribute("aria-pressed", "false");
      event.currentTarget.setAttribute("aria-pressed", String(on));
      light(on ? tag : null);
    };
    const title = names.get(tag);
    byId("chips").append(
      make("button", { type: "button", class: "chip", "aria-pressed": "false", title, click: press }, tag),
    );
  }
}

function light(tag) {
  shown.lit = tag;
  byId("plot").classList.toggle("lit", tag !== null);
  for (const dot of byId("plot").querySelectorAll(".dot")) {
    dot.classList.toggle("on", dot.dataset.language === tag);
  }
}

/** Draw these queries, the most divided first. */
function plot(queries) {
  shown.queries = queries;
  const drawn = known ? queries.filter((query) => Object.keys(query.ranks).length) : queries;
  const some = shown.all ? drawn : drawn.slice(0, FIRST_LINES);
  const space = byId("plot").parentElement.clientWidth;
  const width = Math.max(420, space);
  const height = HEAD * 2 + LINE * some.length;
  const axis = known ? rankAxis(width) : shareAxis(width);
  const lines = some.map((query, place) => {
    return row(query, HEAD + LINE * (place + 0.5), width, axis);
  });
  const whole = byId("plot");
  whole.setAttribute("viewBox", `0 0 ${width} ${height}`);
  whole.style.minWidth = `${width}px`;
  whole.replaceChildren(...frame(axis, height), ...lines);
  more(drawn.length, queries.length);
  if (shown.lit) light(shown.lit);
}

function more(drawn, asked) {
  const button = byId("more");
  button.hidden = drawn <= FIRST_LINES;
  button.textContent = shown.all
    ? `Only the first ${FIRST_LINES}`
    : `Draw all ${counted(drawn, "concept")}`;
  byId("undrawn").textContent =
    drawn < asked ? `${counted(asked - drawn, "concept")} without a right answer: not drawn.` : "";
}

const labelEnd = (width) => Math.min(LABEL, width / 4);

function rankAxis(width) {
  const most = Math.max(2, report.gallery);
  const start = labelEnd(width) + GAP;
  const span = width - start - TAIL;
  const at = (rank) => start + (span * Math.log(rank)) / Math.log(most);
  const ticks = [1];
  for (let power = 1; power < most; power *= 10) ticks.push(2 * power, 5 * power, 10 * power);
  const kept = ticks.filter((rank) => rank < most && (rank === 1 || at(most) - at(rank) > 34));
  return { at, ticks: [...kept, most], shade: [at(1), at(Math.min(depth, most))], text: (rank) => number(rank, 0) };
}

function shareAxis(width) {
  const start = labelEnd(width) + GAP;
  const at = (share) => start + (width - start - TAIL) * Math.min(1, Math.max(0, share));
  return { at, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], shade: null, text: (tick) => tick.toFixed(1) };
}

function frame({ at, ticks, shade, text }, height) {
  const bottom = height - HEAD;
  const parts = [];
  if (shade) {
    const [from, to] = shade;
    const size = { width: to - from + 14, height: bottom - HEAD };
    parts.push(draw("rect", { class: "shade", x: from - 7, y: HEAD, ...size }));
  }
  for (const tick of ticks) {
    const x = at(tick);
    parts.push(draw("line", { class: "grid", x1: x, x2: x, y1: HEAD, y2: bottom }));
    for (const y of [HEAD - 9, bottom + 18]) {
      parts.push(draw("text", { class: "tick", x, y, "text-anchor": "middle" }, text(tick)));
    }
  }
  return parts;
}

function row(query, y, width, axis) {
  const found = known ? dots(query, y, axis) : shares(query, y, axis);
  const value = known ? query.normalised : query.agreement.overlap;
  const edge = labelEnd(width);
  const name = short(query.id, edge / LETTER);
  const label = draw("text", { x: edge, y: y + 4, "text-anchor": "end" }, name);
  const link = draw("a", { href: `#${anchor(query)}`, click: (event) => jump(event, query) }, label);
  link.append(draw("title", {}, `${query.id}: open`));
  const end = { class: "tail", x: width - 4, y: y + 4, "text-anchor": "end" };
  return draw("g", { class: "line" }, link, found, draw("text", end, known ? small(value) : number(value)));
}

/** Cut to what fits; letters of China, Japan and Korea are twice as wide. */
function short(text, room) {
  const letters = [...text];
  for (const [place, letter] of letters.entries()) {
    room -= letter > "\u2e7f" ? 2 : 1;
    if (room < 0) return `${letters.slice(0, place).join("")}…`;
  }
  return text;
}

function dots(query, y, { at }) {
  const ranks = Object.entries(query.ranks);
  const values = ranks.map(([, rank]) => rank);
  const [low, high, middle] = [Math.min(...values), Math.max(...values), median(values)];
  const said = ranks.map(([tag, rank]) => `${tag} ${rank}`).join(", ");
  const whole = draw("g", { role: "img", "aria-label": `${query.id}: ${said}` });
  whole.append(draw("line", { class: "reach", x1: at(low), x2: at(high), y1: y, y2: y }));
  whole.append(draw("line", { class: "middle", x1: at(middle), x2: at(middle), y1: y - 8, y2: y + 8 }));
  const alike = new Map();
  for (const [tag, rank] of ranks) alike.set(rank, [...(alike.get(rank) ?? []), tag]);
  const apart = query.outlier && low < high ? query.outlier.language : null;
  const odd = apart in query.ranks ? apart : null;
  for (const [rank, tags] of alike) {
    const step = Math.min(4, 15 / Math.max(1, tags.length - 1));
    const title = `${query.id}: rank ${number(rank, 0)} in ${tags.map((tag) => names.get(tag)).join(", ")}`;
    for (const [place, tag] of tags.entries()) {
      const offset = (place - (tags.length - 1) / 2) * step;
      const kind = `dot${tag === odd ? " odd" : ""}${tags.length > PILE ? " pile" : ""}`;
      const dot = { class: kind, cx: at(rank), cy: y + offset, r: 4, "data-language": tag };
      whole.append(draw("circle", dot, draw("title", {}, title)));
    }
  }
  if (odd) {
    const right = query.ranks[odd] >= middle;
    const x = at(query.ranks[odd]) + (right ? 8 : -8);
    const side = right ? "start" : "end";
    whole.append(whole.querySelector(".odd")); // above those of the same rank
    whole.append(draw("text", { class: "name", x, y: y + 4, "text-anchor": side }, odd));
  }
  return whole;
}

function shares(query, y, { at }) {
  const { overlap, cosine } = query.agreement;
  const label = `${query.id}: overlap ${number(overlap)}, text cosine ${number(cosine)}`;
  const whole = draw("g", { role: "img", "aria-label": label }, draw("title", {}, label));
  if (overlap !== null) {
    whole.append(draw("line", { class: "reach", x1: at(0), x2: at(overlap), y1: y, y2: y }));
  }
  if (cosine !== null) whole.append(draw("circle", { class: "ring", cx: at(cosine), cy: y, r: 4 }));
  if (overlap !== null) whole.append(draw("circle", { class: "dot", cx: at(overlap), cy: y, r: 5 }));
  return whole;
}
