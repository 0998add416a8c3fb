// page.js: the pages of `blotter web`. Each page is a function that fills <main> and returns what is
// to be asked again after every commit. Text from records is only ever set as text, never as HTML.
import { compare, group, isNegative, isZero, round, signed } from "/decimal.js";
import { candleChart, equityChart } from "/charts.js";

const TOKEN_KEY = "blotter-token";
const REFRESH_MS = 1000; // most often that a page asks again while commits keep coming

// --- elements ---

function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

// A name that people chose: isolated, so that right-to-left text does not turn its neighbours.
const name = (text) => h("bdi", { title: text ?? "" }, text === "" || text === null || text === undefined ? "–" : text);

function card(title, width, aside, ...body) {
  return h("section", { class: "card " + width, "aria-label": title }, h("h2", null, title, aside && h("span", null, aside)), ...body);
}

// --- times ---

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "2-digit" });

// In the viewer's zone; the title has UTC, with every digit that was stored.
function time(text) {
  if (!text) return "–";
  const at = new Date(text);
  const today = new Date().toDateString() === at.toDateString();
  return h("time", { datetime: text, title: text.replace("T", " ").replace("+00:00", " UTC") }, (today ? "" : day.format(at) + " ") + clock.format(at));
}

function age(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 60) return seconds.toFixed(1) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 86400) return Math.floor(seconds / 3600) + " h " + Math.floor((seconds % 3600) / 60) + " min";
  return Math.floor(seconds / 86400) + " d";
}

const since = (text) => (text ? age((Date.now() - Date.parse(text)) / 1000) : "–");

// --- money ---

const tone = (text) => (text === null || text === undefined || isZero(text) ? "" : isNegative(text) ? "down" : "up");
const money = (text, places = 2) => h("span", { class: tone(text), title: group(text) }, text === null || text === undefined ? "–" : signed(round(text, places)));
// A computed price may have many digits: two more than the prices beside it are shown, all are in the title.
function computed(text, like) {
  if (text === null) return "–";
  const digits = (of) => (of?.split(".")[1] ?? "").length;
  const places = Math.max(2, digits(like)) + 2;
  return h("span", { title: group(text) }, group(digits(text) > places ? round(text, places) : text));
}
const amount = (text) => (text === null || text === undefined ? "–" : group(text));
const sided = (side) => h("span", { class: side === "buy" || side === "long" ? "up" : side === "sell" || side === "short" ? "down" : "" }, side ?? "–");

// --- asking ---

let token = sessionStorage.getItem(TOKEN_KEY);

class Refused extends Error {}

async function ask(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const answer = await fetch("/api/" + path + (query.size > 0 ? "?" + query : ""), { headers: { Authorization: "Bearer " + token } });
  const body = await answer.json();
  if (answer.status === 401) throw new Refused(body.error);
  if (!answer.ok) throw new Error(body.error);
  return body;
}

// --- tables: sorted by a click on a head, by keyboard too ---

// columns: {title, left, text(row) -> node or text, key(row) -> text or number to sort by, decimal}
function table(columns, label) {
  let rows = [], sort = null, known = null;
  const body = h("tbody");
  const heads = columns.map((column, at) =>
    h("th", { class: column.left ? "l" : "", scope: "col", "aria-sort": "none" },
      column.key ? h("button", { type: "button", onclick: () => sortBy(at) }, column.title) : column.title));
  const element = h("table", { "aria-label": label }, h("thead", null, h("tr", null, heads)), body);

  function sortBy(at) {
    sort = sort?.at === at ? { at, down: !sort.down } : { at, down: !columns[at].left };
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== at ? "none" : sort.down ? "descending" : "ascending"));
    draw();
  }

  function draw() {
    let shown = rows;
    if (sort !== null) {
      const { key, decimal } = columns[sort.at];
      const by = decimal ? compare : (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      shown = [...rows].sort((a, b) => by(key(a) ?? "", key(b) ?? "") * (sort.down ? -1 : 1));
    }
    body.replaceChildren(...shown.map((row) =>
      h("tr", { class: known !== null && row.identity !== undefined && !known.has(row.identity) ? "fresh" : null },
        columns.map((column) => h("td", { class: (column.left ? "l " : "") + (column.words ? "t" : "") }, column.text(row))))));
    if (shown.length === 0) {
      body.append(h("tr", null, h("td", { class: "empty", colspan: columns.length }, element.dataset.empty ?? "Nothing yet.")));
    }
  }

  return {
    element,
    fill(next, empty) {
      element.dataset.empty = empty ?? "Nothing yet.";
      known = rows.length > 0 ? new Set(rows.map((row) => row.identity)) : null;
      rows = next;
      draw();
    },
  };
}

const orderLink = (row, text) =>
  h("a", { href: "#/order?" + new URLSearchParams({ exchange: row.exchange, account: row.account ?? "", order: row.order ?? row.order_id ?? "" }) }, name(text));
const filterLink = (page, key, value) => h("a", { href: "#/" + page + "?" + new URLSearchParams({ [key]: value ?? "" }) }, name(value));

const strategyColumn = { title: "strategy", left: true, words: true, key: (r) => r.strategy, text: (r) => filterLink("orders", "strategy", r.strategy) };
const exchangeColumn = { title: "exchange", left: true, words: true, key: (r) => r.exchange, text: (r) => h("span", { class: "dim" }, name(r.exchange)) };
const symbolColumn = {
  title: "symbol", left: true, words: true, key: (r) => r.symbol,
  text: (r) => h("a", { href: "#/candles?" + new URLSearchParams({ exchange: r.exchange, symbol: r.symbol ?? "" }) }, name(r.symbol)),
};

// --- the desk ---

function kpi(title) {
  const value = h("strong", null, "–"), note = h("small", null, " ");
  return { element: h("section", { class: "card kpi", "aria-label": title }, h("h2", null, title), value, note),
    fill(nodes, text) { value.replaceChildren(nodes); note.replaceChildren(text); } };
}

// The currency in which most was traded leads; the others follow in the note.
function moneyKpi(box, pnl, member, note) {
  const lead = pnl[0];
  const others = pnl.slice(1).filter((p) => p[member] !== null && !isZero(p[member])).slice(0, 3)
    .map((p) => (p.currency || "?") + " " + signed(round(p[member], 4)));
  box.fill(lead ? money(lead[member]) : "–", [lead?.currency, note, ...others].filter(Boolean).join(" · "));
}

function feesOf(pnl) {
  return pnl.map((p) => {
    // funding received less fees paid: both are exact, so they are shown beside each other, not added
    const shown = [];
    if (p.fees !== null && !isZero(p.fees)) shown.push("fees " + group(round(p.fees, 4)));
    if (p.funding !== null && !isZero(p.funding)) shown.push("funding " + signed(round(p.funding, 4)));
    return shown.length > 0 ? (p.currency || "?") + ": " + shown.join(", ") : null;
  }).filter(Boolean);
}

const positionColumns = [
  strategyColumn, exchangeColumn, symbolColumn,
  { title: "side", left: true, words: true, key: (r) => r.position_side, text: (r) => sided(r.position_side || (isZero(r.quantity) ? "flat" : isNegative(r.quantity) ? "short" : "long")) },
  { title: "quantity", decimal: true, key: (r) => r.quantity, text: (r) => amount(r.quantity) },
  { title: "average", decimal: true, key: (r) => r.average_price, text: (r) => computed(r.average_price, r.mark_price) },
  { title: "mark", decimal: true, key: (r) => r.mark_price, text: (r) => amount(r.mark_price) },
  { title: "unrealised", decimal: true, key: (r) => r.unrealized_pnl, text: (r) => money(r.unrealized_pnl) },
  { title: "realised today", decimal: true, key: (r) => r.realized_today, text: (r) => money(r.realized_today) },
];

const fillColumns = [
  { title: "time", left: true, key: (r) => r.at, text: (r) => h("span", { class: "dim" }, time(r.at)) },
  symbolColumn,
  { title: "side", left: true, words: true, key: (r) => r.side, text: (r) => sided(r.side) },
  { title: "price", decimal: true, key: (r) => r.price, text: (r) => amount(r.price) },
  { title: "quantity", decimal: true, key: (r) => r.quantity, text: (r) => (r.order_id ? orderLink(r, amount(r.quantity)) : amount(r.quantity)) },
];
const identified = (fills) => fills.map((f) => ({ ...f, identity: [f.exchange, f.trade_id, f.order_id, f.side].join("\n") }));

const strategyColumns = [
  strategyColumn,
  { title: "PnL", decimal: true, key: (r) => r.pnl?.[0]?.net, text: (r) => h("span", null, money(r.pnl?.[0]?.net), h("span", { class: "dim" }, " " + (r.pnl?.[0]?.currency ?? ""))) },
  { title: "fills", key: (r) => r.fills, text: (r) => String(r.fills) },
  { title: "open", key: (r) => r.open_orders, text: (r) => String(r.open_orders) },
  { title: "last record", key: (r) => r.last_record_at, text: (r) => h("span", { class: "dim" }, since(r.last_record_at)) },
];

function deskPage(main) {
  const today = kpi("PnL today"), realised = kpi("Realised"), unrealised = kpi("Unrealised"), fees = kpi("Fees, funding"), open = kpi("Open orders"), delay = kpi("Behind");
  const positions = table(positionColumns, "Positions"), fills = table(fillColumns, "Fills"), strategies = table(strategyColumns, "Strategies");
  const equity = h("div", { class: "chart", role: "img", "aria-label": "Equity of today by strategy" });
  const pipeline = pipelineCard("w12");
  main.append(today.element, realised.element, unrealised.element, fees.element, open.element, delay.element,
    card("Equity today", "w7", "net of fees and funding, by strategy", equity),
    card("By strategy", "w5", "today", h("div", { class: "scroll", tabindex: 0 }, strategies.element)),
    card("Positions", "w8", h("a", { href: "#/positions" }, "all"), h("div", { class: "scroll", tabindex: 0 }, positions.element)),
    card("Fills", "w4", h("a", { href: "#/fills" }, "all"), h("div", { class: "scroll", tabindex: 0 }, fills.element)),
    pipeline.element);
  const chart = equityChart(equity);
  onStatus = (status) => {
    pipeline.fill(status);
    const worst = worstStream(status);
    delay.fill(worst ? age(worst.oldest) : "–", worst ? worst.stream.replace(/^blotter:/, "") + " · lag " + worst.lag + " · pending " + worst.pending : "no streams");
  };
  return async () => {
    const [overview, strategyRows, positionRows, fillRows, curve] = await Promise.all([
      ask("overview"), ask("strategies"), ask("positions"), ask("fills", { limit: 30 }), ask("equity")]);
    moneyKpi(today, overview.pnl, "total", "net, with unrealised");
    moneyKpi(realised, overview.pnl, "realized", overview.fills_today + " fills" + (overview.fills_today > 0 ? ", " + Math.round((100 * overview.maker_today) / overview.fills_today) + " % maker" : ""));
    moneyKpi(unrealised, overview.pnl, "unrealized", overview.positions + " positions");
    const paid = feesOf(overview.pnl);
    fees.fill(overview.pnl[0] ? money(overview.pnl[0].fees === null ? null : isNegative(overview.pnl[0].fees) ? overview.pnl[0].fees.slice(1) : "-" + overview.pnl[0].fees) : "–", paid.join(" · ") || "none");
    open.fill(String(overview.open_orders), overview.open_orders === 0 ? "none" : "oldest " + since(overview.oldest_open_order) + (overview.unanswered_orders > 0 ? " · " + overview.unanswered_orders + " without answer" : ""));
    setRejects(overview.rejects);
    strategies.fill(strategyRows);
    positions.fill(positionRows.filter((p) => !isZero(p.quantity)), "No open position.");
    fills.fill(identified(fillRows), "No fill yet.");
    chart(curve);
  };
}

// --- orders ---

const orderColumns = [
  { title: "last change", left: true, key: (r) => r.recorded_at, text: (r) => h("span", { class: "dim" }, time(r.recorded_at)) },
  strategyColumn, exchangeColumn, symbolColumn,
  { title: "order", left: true, words: true, key: (r) => r.order, text: (r) => orderLink(r, r.order_id || r.client_order_id) },
  { title: "side", left: true, words: true, key: (r) => r.side, text: (r) => sided(r.side) },
  { title: "type", left: true, words: true, key: (r) => r.type, text: (r) => name(r.type) },
  { title: "price", decimal: true, key: (r) => r.price, text: (r) => amount(r.price) },
  { title: "quantity", decimal: true, key: (r) => r.quantity, text: (r) => amount(r.quantity) },
  { title: "filled", decimal: true, key: (r) => r.filled_quantity, text: (r) => amount(r.filled_quantity) },
  { title: "status", left: true, words: true, key: (r) => r.status, text: (r) => h("span", { class: r.provisional ? "warn" : "" }, name(r.status), r.provisional ? " (no venue id yet)" : "") },
  { title: "age", key: (r) => r.first_recorded_at, text: (r) => since(r.first_recorded_at) },
];

// Inputs whose values are the page's parameters: they stand in the address, so a link shows the same.
function filters(page, parameters, fields) {
  const change = () => {
    const next = new URLSearchParams();
    for (const [key, field] of Object.entries(inputs)) if (field.value !== "") next.set(key, field.value);
    location.hash = "#/" + page + (next.size > 0 ? "?" + next : "");
  };
  const inputs = {};
  const labels = fields.map(([key, title, choices]) => {
    inputs[key] = choices
      ? h("select", { onchange: change }, choices.map(([value, text]) => h("option", { value, selected: (parameters.get(key) ?? "") === value }, text)))
      : h("input", { type: "search", value: parameters.get(key) ?? "", onchange: change, autocomplete: "off", spellcheck: "false" });
    return h("label", null, title, inputs[key]);
  });
  return h("div", { class: "filters", role: "search" }, labels);
}

const whose = [["strategy", "strategy"], ["exchange", "exchange"], ["account", "account"], ["symbol", "symbol"]];

function ordersPage(main, parameters) {
  const orders = table(orderColumns, "Orders");
  const count = h("span");
  main.append(card("Orders", "w12", count,
    filters("orders", parameters, [...whose, ["text", "id has"], ["state", "show", [["", "open"], ["ended", "ended"], ["all", "all"]]], ["sort", "first", [["", "latest change"], ["oldest", "oldest"]]]]),
    h("div", { class: "scroll tall", tabindex: 0 }, orders.element)));
  return async () => {
    const answer = await ask("orders", { ...Object.fromEntries(parameters), limit: 500 });
    orders.fill(answer.orders.map((o) => ({ ...o, identity: o.exchange + "\n" + o.account + "\n" + o.order })), "No such order.");
    count.textContent = answer.orders.length < 500 ? answer.orders.length + " shown" : "the first 500; narrow it down above";
  };
}

function factsOf(object) {
  return h("dl", { class: "facts" }, Object.entries(object).filter(([, value]) => value !== null && value !== "").map(([key, value]) =>
    h("div", null, h("dt", null, key.replaceAll("_", " ")), h("dd", null, /(_at|_time)$/.test(key) ? time(value) : name(String(value))))));
}

function orderPage(main, parameters) {
  const facts = h("div");
  const events = table([
    { title: "recorded", left: true, text: (r) => time(r.recorded_at) },
    { title: "event", left: true, words: true, text: (r) => name(r.event) },
    { title: "status", left: true, words: true, text: (r) => name(r.status) },
    { title: "price", text: (r) => amount(r.price) }, { title: "quantity", text: (r) => amount(r.quantity) },
    { title: "filled", text: (r) => amount(r.filled_quantity) },
    { title: "this fill", text: (r) => (r.last_quantity ? amount(r.last_quantity) + " @ " + amount(r.last_price) : "–") },
    { title: "reason", left: true, words: true, text: (r) => name(r.reason) },
    { title: "venue → strategy", text: (r) => lag(r.update_time ?? r.exchange_time, r.recorded_at) },
    { title: "strategy → row", text: (r) => lag(r.recorded_at, r.stored_at) },
  ], "Events of the order");
  const fills = table([...fillColumns.slice(0, 1), ...fillColumns.slice(2),
    { title: "fee", text: (r) => (r.fee ? amount(r.fee) + " " + (r.fee_currency ?? "") : "–") },
    { title: "liquidity", left: true, words: true, text: (r) => name(r.liquidity) }], "Fills of the order");
  main.append(card("Order", "w12", h("a", { href: "#/orders" }, "all orders"), facts),
    card("Events", "w12", null, h("div", { class: "scroll", tabindex: 0 }, events.element)),
    card("Fills", "w12", null, h("div", { class: "scroll", tabindex: 0 }, fills.element)));
  return async () => {
    const answer = await ask("order", Object.fromEntries(["exchange", "account", "order"].map((key) => [key, parameters.get(key)])));
    facts.replaceChildren(answer.order === null ? h("p", { class: "dim" }, "There is no such order.") : factsOf(answer.order));
    events.fill(answer.events, "Its events' days have been dropped, or nothing is recorded yet.");
    fills.fill(answer.fills, "No fill.");
  };
}

const lag = (from, to) => (from && to ? (Date.parse(to) - Date.parse(from)) + " ms" : "–");

// --- fills, positions, candles ---

function fillsPage(main, parameters) {
  const fills = table([...fillColumns.slice(0, 1), strategyColumn, exchangeColumn, ...fillColumns.slice(1),
    { title: "cost", decimal: true, key: (r) => r.cost, text: (r) => amount(r.cost) },
    { title: "fee", decimal: true, key: (r) => r.fee, text: (r) => (r.fee ? amount(r.fee) + " " + (r.fee_currency ?? "") : "–") },
    { title: "liquidity", left: true, words: true, key: (r) => r.liquidity, text: (r) => name(r.liquidity) },
    { title: "trade", left: true, words: true, key: (r) => r.trade_id, text: (r) => name(r.trade_id) }], "Fills");
  main.append(card("Fills", "w12", "the latest 500", filters("fills", parameters, whose), h("div", { class: "scroll tall", tabindex: 0 }, fills.element)));
  return async () => fills.fill(identified(await ask("fills", { ...Object.fromEntries(parameters), limit: 500 })), "No fill.");
}

function positionsPage(main, parameters) {
  const positions = table([...positionColumns,
    { title: "realised", decimal: true, key: (r) => r.realized_pnl, text: (r) => money(r.realized_pnl) },
    { title: "currency", left: true, words: true, key: (r) => r.currency, text: (r) => name(r.currency) },
    { title: "fills", key: (r) => r.fills, text: (r) => String(r.fills) },
    { title: "last fill", key: (r) => r.last_fill_at, text: (r) => time(r.last_fill_at) },
    { title: "", left: true, words: true, text: (r) => (r.assumed ? h("span", { class: "warn", title: "No instrument is recorded: one contract is taken for one unit." }, "contract size assumed") : "") }], "Positions");
  main.append(card("Positions", "w12", "open, or moved today", filters("positions", parameters, whose), h("div", { class: "scroll tall", tabindex: 0 }, positions.element)));
  return async () => positions.fill(await ask("positions", Object.fromEntries(parameters)), "No position.");
}

function candlesPage(main, parameters) {
  const chart = h("div", { class: "chart big", role: "img", "aria-label": "Candles with own fills" });
  const note = h("span");
  const list = h("datalist", { id: "symbols" });
  const form = filters("candles", parameters, [["exchange", "exchange"], ["symbol", "symbol"],
    ["interval", "interval", [["1 second", "1 s"], ["", "1 min"], ["5 minutes", "5 min"], ["15 minutes", "15 min"], ["1 hour", "1 h"], ["1 day", "1 d"]]]]);
  form.querySelectorAll("input")[1].setAttribute("list", "symbols");
  main.append(card("Candles", "w12", note, form, list, chart));
  const draw = candleChart(chart);
  let symbols = null;
  return async () => {
    if (symbols === null) {
      symbols = await ask("symbols");
      list.replaceChildren(...[...new Set(symbols.map((s) => s.symbol))].map((value) => h("option", { value })));
    }
    const symbol = parameters.get("symbol") ?? symbols[0]?.symbol;
    if (symbol === undefined) {
      note.textContent = "no trades and no fills are recorded yet";
      return;
    }
    const step = parameters.get("interval") ?? "1 minute";
    const hours = { "1 second": 0.25, "1 minute": 6, "5 minutes": 30, "15 minutes": 90, "1 hour": 360, "1 day": 8640 }[step] ?? 6;
    const answer = await ask("candles", { exchange: parameters.get("exchange"), symbol, interval: step, from: new Date(Date.now() - hours * 3600e3).toISOString() });
    note.replaceChildren(name(symbol), ` · ${answer.candles.length} candles of recorded trades · ${answer.fills.length} own fills`);
    draw(answer);
  };
}

// --- the pipeline ---

function worstStream(status) {
  const streams = status?.streams ?? [];
  return streams.map((s) => ({ stream: s.stream, lag: s.lag ?? "?", pending: s.pending ?? 0, oldest: Number(s.behind_s ?? 0) }))
    .sort((a, b) => b.oldest - a.oldest)[0];
}

function pipelineCard(width) {
  const body = h("div", { class: "scroll", tabindex: 0 });
  let streams = null, titles = "";
  return {
    element: card("Pipeline", width, "strategy → journal → Redis → drainer → PostgreSQL", body),
    // The columns are those of `blotter status`, so that the page says what the command says.
    fill(status) {
      const rows = status?.streams ?? [];
      if (rows.length === 0) {
        streams = null;
        body.replaceChildren(h("p", { class: "dim" }, status === null ? "Redis is not there yet." : "No stream yet: nothing was recorded."));
        return;
      }
      const keys = Object.keys(rows[0]).filter((key) => key !== "lag_counted");
      if (streams === null || titles !== keys.join()) {
        titles = keys.join();
        streams = table(keys.map((key, at) => ({ title: key.replaceAll("_", " "), left: at === 0, words: at === 0, key: (r) => r[key], text: (r) => (r[key] === null ? "–" : at === 0 ? name(r[key]) : String(r[key])) })), "Streams");
        body.replaceChildren(streams.element);
      }
      streams.fill(rows);
    },
  };
}

function pipelinePage(main) {
  const pipeline = pipelineCard("w12");
  const audit = table([
    { title: "producer", left: true, words: true, key: (r) => r.producer_id, text: (r) => name(r.producer_id) },
    { title: "exchange", left: true, words: true, key: (r) => r.exchange, text: (r) => name(r.exchange) },
    { title: "state", left: true, words: true, key: (r) => r.state, text: (r) => h("span", { class: r.state === "complete" ? "up" : r.state === "open" ? "" : "down" }, r.state) },
    { title: "settled", key: (r) => r.settled, text: (r) => String(r.settled ?? "–") },
    { title: "last seq", key: (r) => r.last_seq, text: (r) => String(r.last_seq ?? "–") },
    { title: "last heard of", key: (r) => r.last_at, text: (r) => time(r.last_at) },
  ], "Audit");
  const latency = h("div", { class: "scroll", tabindex: 0 });
  main.append(pipeline.element,
    card("Audit", "w7", "by the drainers' counters; blotter audit looks at every row", h("div", { class: "scroll", tabindex: 0 }, audit.element)),
    card("Latency", "w5", "last hour, milliseconds: median / p99 / max", latency));
  onStatus = pipeline.fill;
  return async () => {
    const [auditRows, latencyRows] = await Promise.all([ask("audit"), ask("latency", { hours: 1 })]);
    audit.fill(auditRows, "No producer yet.");
    const three = (values) => (Array.isArray(values) ? values.map((v) => (v === null ? "–" : Number(v).toFixed(1))).join(" / ") : "–");
    const rows = table([
      { title: "exchange", left: true, words: true, key: (r) => r.exchange, text: (r) => name(r.exchange) },
      { title: "kind", left: true, words: true, key: (r) => r.kind, text: (r) => r.kind },
      { title: "venue → strategy", text: (r) => three(r.exchange_to_recorded_ms) },
      { title: "strategy → row", text: (r) => three(r.recorded_to_stored_ms) },
    ], "Latency");
    rows.fill(latencyRows, "Nothing was recorded in the last hour.");
    latency.replaceChildren(rows.element);
  };
}

// --- rejects ---

function rejectsPage(main, parameters) {
  const id = parameters.get("id");
  if (id !== null) {
    const facts = h("div"), text = h("pre", { tabindex: 0 });
    main.append(card("Reject " + id, "w12", h("a", { href: "#/rejects" }, "all rejects"), facts), card("Its bytes", "w12", "bytes that are not printable as \\ooo", text));
    return async () => {
      const reject = await ask("reject", { id });
      if (reject === null) {
        facts.replaceChildren(h("p", { class: "dim" }, "There is no such reject."));
        return;
      }
      const { text: bytes, ...rest } = reject;
      facts.replaceChildren(factsOf(rest));
      text.textContent = bytes;
    };
  }
  const rejects = table([
    { title: "id", left: true, key: (r) => r.id, text: (r) => h("a", { href: "#/rejects?id=" + r.id }, String(r.id)) },
    { title: "rejected", left: true, key: (r) => r.rejected_at, text: (r) => time(r.rejected_at) },
    { title: "stream", left: true, words: true, key: (r) => r.stream, text: (r) => name(r.stream) },
    { title: "reason", left: true, words: true, key: (r) => r.reason, text: (r) => name(r.reason) },
    { title: "bytes", key: (r) => r.bytes, text: (r) => String(r.bytes) },
  ], "Rejects");
  main.append(card("Rejects", "w12", "records that could not be stored; blotter rejects replay loads them again", h("div", { class: "scroll tall", tabindex: 0 }, rejects.element)));
  return async () => rejects.fill(await ask("rejects", { limit: 500 }), "No reject waits for a decision.");
}

// --- the frame ---

const pages = { desk: ["Desk", deskPage], orders: ["Orders", ordersPage], fills: ["Fills", fillsPage], positions: ["Positions", positionsPage],
  candles: ["Candles", candlesPage], pipeline: ["Pipeline", pipelinePage], rejects: ["Rejects", rejectsPage], order: [null, orderPage] };

const main = document.getElementById("main");
const verdict = document.getElementById("verdict");
let refresh = null, asking = false, again = false, timer = null, askedAt = 0;
let onStatus = () => {};
let lastStatus = null, connected = false, trouble = "";

function setRejects(count) {
  const link = document.querySelector('nav a[data-page="rejects"]');
  link?.replaceChildren("Rejects", count > 0 ? h("span", { class: "warn" }, " " + count) : "");
}

// The one line at the top: is all well, and if not, what is not and why.
function drawVerdict() {
  const worst = worstStream(lastStatus);
  const behind = (lastStatus?.streams ?? []).filter((s) => Number(s.behind_s ?? 0) > 5);
  let tone, first, rest = "";
  if (!connected) [tone, first, rest] = ["down", "not connected", trouble || "blotter web does not answer; trying again every second"];
  else if (trouble !== "") [tone, first, rest] = ["down", "something is away", trouble];
  else if (behind.length > 0) [tone, first, rest] = ["warn", `${worst.stream} is ${age(worst.oldest)} behind`, behind.length > 1 ? `and ${behind.length - 1} more` : `lag ${worst.lag}, pending ${worst.pending}`];
  else if (lastStatus === null) [tone, first] = ["", "waiting for the first look at Redis"];
  else [tone, first, rest] = ["up", "all is well", `${lastStatus.streams.length} streams, nothing waits`];
  verdict.replaceChildren(h("span", { class: "dot " + tone }), h("span", null, h("b", { class: tone === "up" ? "" : tone }, first), h("span", { class: "dim" }, rest === "" ? "" : " · " + rest)));
}

function showError(error) {
  let notice = document.getElementById("notice");
  if (error === null) {
    notice?.remove();
    return;
  }
  if (notice === null) {
    notice = h("section", { class: "card notice warn", id: "notice", role: "alert" });
    main.prepend(notice);
  }
  notice.textContent = error instanceof Refused ? error.message : "These figures are old: " + error.message;
}

async function update() {
  timer = null;
  if (asking) {
    again = true;
    return;
  }
  const mine = refresh;
  asking = true;
  askedAt = Date.now();
  try {
    await mine?.();
    if (mine === refresh) showError(null);
  } catch (error) {
    if (mine === refresh) showError(error);
  } finally {
    asking = false;
    if (again) {
      again = false;
      updateSoon();
    }
  }
}

// At once after a pause; while commits keep coming, once a second.
function updateSoon() {
  if (timer === null && !document.hidden) timer = setTimeout(update, Math.max(0, askedAt + REFRESH_MS - Date.now()));
}

function show() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [, page] = pages[path] ?? pages.desk;
  onStatus = () => {};
  main.replaceChildren();
  document.querySelectorAll("nav a").forEach((link) =>
    link.dataset.page === (path === "order" ? "orders" : pages[path] ? path : "desk") ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current"));
  refresh = page(main, new URLSearchParams(query ?? ""));
  onStatus(lastStatus);
  askedAt = 0;
  asking = false;
  update();
}

function listen() {
  const worker = new SharedWorker("/live.js");
  worker.port.onmessage = ({ data: { event, data } }) => {
    if (event === "connected") [connected, trouble] = [true, ""];
    else if (event === "lost") [connected, trouble] = [false, data];
    else if (event === "trouble") trouble = data;
    else if (event === "refused") showError(new Refused("open the address that `blotter web` has printed: it holds the token"));
    else if (event === "status") {
      connected = true;
      lastStatus = JSON.parse(data);
      if (lastStatus !== null) trouble = "";
      onStatus(lastStatus);
    } else if (event === "committed") updateSoon();
    if (event === "connected") updateSoon();
    drawVerdict();
  };
  const report = () => worker.port.postMessage({ visible: !document.hidden });
  worker.port.postMessage({ token, visible: !document.hidden });
  document.addEventListener("visibilitychange", () => {
    report();
    if (!document.hidden) updateSoon();
  });
  addEventListener("pagehide", () => worker.port.postMessage({ gone: true }));
}

function start() {
  // "#TOKEN": the address that was printed. The token moves to the session's storage, and out of sight.
  const given = /^#([\w.~-]{16,256})$/.exec(location.hash);
  if (given) {
    token = given[1];
    sessionStorage.setItem(TOKEN_KEY, token);
    history.replaceState(null, "", "#/desk");
  }
  document.getElementById("nav").append(...Object.entries(pages).filter(([, [title]]) => title !== null)
    .map(([path, [title]]) => h("a", { href: "#/" + path, "data-page": path }, title)));
  setInterval(() => {
    const now = new Date();
    document.getElementById("clock").textContent = now.toLocaleTimeString(undefined, { hourCycle: "h23" }) + " here · " + now.toISOString().slice(11, 19) + " UTC";
  }, 1000);
  addEventListener("hashchange", show);
  drawVerdict();
  show();
  listen();
}

start();
