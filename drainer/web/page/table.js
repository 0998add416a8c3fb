// table.js: tables that sort by a click on a head, by keyboard too, and the columns that many have.
// A row whose data is the same keeps its element, so that focus and selection outlive a refresh.
import { compare } from "/decimal.js";
import { h, name } from "/dom.js";

// columns: {title, left, words, wrap (is never cut), minor (not on a phone), text(row) -> node or text, key(row) -> what to sort by, decimal}
// identity(row): the row's name, by which a new one is known for new; options: {limit, more(count)}
export function table(columns, label, identity, options = {}) {
  let rows = [], sort = null, known = null, empty = "Nothing yet.";
  let elements = new Map(); // identity -> {json, element}
  const body = h("tbody");
  const kind = (column) => (column.left ? "l" : "") + (column.words ? " t" : "") + (column.wrap ? " wrap" : "") + (column.minor ? " minor" : "");
  const heads = columns.map((column, at) =>
    h("th", { class: kind(column), scope: "col", "aria-sort": column.key ? "none" : null },
      column.key ? h("button", { type: "button", onclick: () => sortBy(at) }, column.title) : column.title));
  const element = h("table", { "aria-label": label }, h("thead", null, h("tr", null, heads)), body);

  function sortBy(at) {
    sort = sort?.at === at ? { at, down: !sort.down } : { at, down: !columns[at].left };
    heads.forEach((head, i) => columns[i].key && head.setAttribute("aria-sort", i !== at ? "none" : sort.down ? "descending" : "ascending"));
    draw();
  }

  function sorted() {
    if (sort === null) return rows;
    const { key, decimal } = columns[sort.at];
    const by = decimal ? compare : (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    return [...rows].sort((a, b) => by(key(a) ?? "", key(b) ?? "") * (sort.down ? -1 : 1));
  }

  function draw() {
    const shown = sorted().slice(0, options.limit ?? Infinity);
    const next = new Map();
    const news = known === null ? 0 : shown.filter((row) => !known.has(identity(row))).length;
    const drawn = shown.map((row, at) => {
      let id = identity(row);
      if (next.has(id)) id += "\n" + at;
      const json = JSON.stringify(row), old = elements.get(id);
      const tr = old?.json === json ? old.element
        : h("tr", { class: known !== null && news <= shown.length / 2 && !known.has(identity(row)) ? "fresh" : null },
          columns.map((column) => h("td", { class: kind(column) }, column.text(row))));
      next.set(id, { json, element: tr });
      return tr;
    });
    elements = next;
    if (drawn.length === 0) drawn.push(h("tr", null, h("td", { class: "empty", colspan: columns.length }, empty)));
    if (shown.length < rows.length && options.more) drawn.push(h("tr", null, h("td", { class: "empty", colspan: columns.length }, options.more(rows.length))));
    // an element that stays where it is is not touched, or it would lose the focus
    drawn.forEach((tr, at) => body.rows[at] !== tr && body.insertBefore(tr, body.rows[at] ?? null));
    while (body.rows.length > drawn.length) body.lastChild.remove();
  }

  return {
    element,
    fill(given, whenEmpty) {
      empty = whenEmpty ?? empty;
      known = rows.length > 0 ? new Set(rows.map(identity)) : null;
      rows = given;
      draw();
    },
  };
}

// --- links: whatever names an order, a strategy, an exchange or a symbol leads to it ---

const link = (page, parameters, text) => h("a", { href: "#/" + page + "?" + new URLSearchParams(parameters) }, text);
export const orderLink = (row, text) => link("order", { exchange: row.exchange, account: row.account ?? "", order: row.order ?? (row.order_id || row.client_order_id) ?? "", symbol: row.symbol ?? "" }, text);

export const strategyColumn = { title: "strategy", left: true, words: true, key: (r) => r.strategy, text: (r) => link("orders", { strategy: r.strategy ?? "", state: "all" }, name(r.strategy)) };
export const exchangeColumn = { title: "exchange", left: true, words: true, minor: true, key: (r) => r.exchange, text: (r) => h("span", { class: "dim" }, name(r.exchange)) };
export const accountColumn = { title: "account", left: true, words: true, minor: true, key: (r) => r.account, text: (r) => h("span", { class: "dim" }, name(r.account)) };
export const symbolColumn = { title: "symbol", left: true, words: true, key: (r) => r.symbol, text: (r) => (r.symbol ? link("candles", { exchange: r.exchange, symbol: r.symbol }, name(r.symbol)) : name(null)) };

// Inputs whose values are the page's parameters: they stand in the address, so a link shows the same.
export function filters(page, parameters, fields) {
  const inputs = {};
  const change = () => {
    const next = new URLSearchParams();
    for (const [key, field] of Object.entries(inputs)) if (field.value !== "") next.set(key, field.value);
    location.hash = "#/" + page + (next.size > 0 ? "?" + next : "");
  };
  const labels = fields.map(([key, title, choices]) => {
    inputs[key] = choices
      ? h("select", { onchange: change }, choices.map(([value, text]) => h("option", { value, selected: (parameters.get(key) ?? "") === value }, text)))
      : h("input", { type: "search", value: parameters.get(key) ?? "", onchange: change, autocomplete: "off", spellcheck: "false" });
    return h("label", null, title, inputs[key]);
  });
  return h("div", { class: "filters", role: "search" }, labels);
}
export const whose = [["strategy", "strategy"], ["exchange", "exchange"], ["account", "account"], ["symbol", "symbol"]];
