// orders.js: orders, the history of one, fills and positions.
import { ask } from "/api.js";
import { fillColumns, fillId, positionColumns, positionId } from "/desk.js";
import { ago, amount, card, count, factsOf, h, milliseconds, money, name, scroll, sided, time } from "/dom.js";
import { accountColumn, exchangeColumn, filters, orderLink, strategyColumn, symbolColumn, table, whose } from "/table.js";

const SHOWN = 500;
const EVENTS_SHOWN = 1000; // of an order, by the API
const POSITIONS_SHOWN = 1000;

const orderColumns = [
  { title: "last change", left: true, key: (r) => r.recorded_at, text: (r) => h("span", { class: "dim" }, time(r.recorded_at)) },
  strategyColumn, exchangeColumn, symbolColumn,
  { title: "order", left: true, words: true, key: (r) => r.order, text: (r) => orderLink(r, name(r.order_id || r.client_order_id)) },
  { title: "side", left: true, words: true, key: (r) => r.side, text: (r) => sided(r.side) },
  { title: "type", left: true, words: true, minor: true, key: (r) => r.type, text: (r) => name(r.type) },
  { title: "price", decimal: true, key: (r) => r.price, text: (r) => amount(r.price) },
  { title: "quantity", decimal: true, key: (r) => r.quantity, text: (r) => amount(r.quantity) },
  { title: "filled", decimal: true, key: (r) => r.filled_quantity, text: (r) => amount(r.filled_quantity) },
  { title: "status", left: true, words: true, key: (r) => r.status, text: (r) => h("span", { class: r.provisional ? "warn" : "" }, name(r.status), r.provisional ? " (no venue id yet)" : "") },
  { title: "age", key: (r) => r.first_recorded_at, text: (r) => ago(r.first_recorded_at) },
];

export function ordersPage(main, frame, parameters) {
  const orders = table(orderColumns, "Orders", (o) => [o.exchange, o.account, o.order, o.symbol].join("\n"));
  const note = h("span");
  main.append(card("Orders", "w12", note,
    filters("orders", parameters, [...whose, ["text", "id has"], ["state", "show", [["", "open"], ["ended", "ended"], ["all", "all"]]], ["sort", "first", [["", "newest"], ["oldest", "oldest"]]]]),
    scroll("tall", orders.element)));
  return {
    refresh: async () => {
      const answer = await ask("orders", { ...Object.fromEntries(parameters), limit: SHOWN });
      orders.fill(answer.orders, parameters.size > 0 ? "No order is like that." : "No open order.");
      note.textContent = answer.orders.length < SHOWN ? answer.orders.length + " shown" : `the first ${SHOWN}; narrow it down with the filters`;
    },
  };
}

const lag = (from, to) => (from && to ? milliseconds(Date.parse(to) - Date.parse(from)).join(" ") : "–");

export function orderPage(main, frame, parameters) {
  const facts = h("div");
  const events = table([
    { title: "recorded", left: true, key: (r) => r.recorded_at, text: (r) => time(r.recorded_at) },
    { title: "event", left: true, words: true, key: (r) => r.event, text: (r) => name(r.event) },
    { title: "status", left: true, words: true, key: (r) => r.status, text: (r) => name(r.status) },
    { title: "price", text: (r) => amount(r.price) }, { title: "quantity", text: (r) => amount(r.quantity) },
    { title: "filled", text: (r) => amount(r.filled_quantity) },
    { title: "this fill", text: (r) => (r.last_quantity ? amount(r.last_quantity) + " @ " + amount(r.last_price) : "–") },
    { title: "reason", left: true, words: true, text: (r) => name(r.reason) },
    { title: "venue → strategy", minor: true, text: (r) => lag(r.update_time ?? r.exchange_time, r.recorded_at) },
    { title: "strategy → row", minor: true, text: (r) => lag(r.recorded_at, r.stored_at) },
  ], "Events of the order", (r) => r.producer_id + "\n" + r.seq);
  const fills = table([fillColumns[0], ...fillColumns.slice(2, 4), { title: "quantity", text: (r) => amount(r.quantity) },
    { title: "fee", text: (r) => (r.fee ? amount(r.fee) + " " + (r.fee_currency ?? "") : "–") },
    { title: "liquidity", left: true, words: true, text: (r) => name(r.liquidity) }], "Fills of the order", (r) => r.trade_id + r.side);
  const rejects = table([
    { title: "reject", left: true, text: (r) => h("a", { href: "#/rejects?id=" + r.id }, String(r.id)) },
    { title: "rejected", left: true, text: (r) => time(r.rejected_at) },
    { title: "reason", left: true, words: true, text: (r) => name(r.reason) }], "Rejects that name the order", (r) => r.id);
  const eventNote = h("span");
  main.append(card("Order", "w12", h("a", { href: "#/orders" }, "all orders"), facts),
    card("Events", "w12", eventNote, scroll("", events.element)),
    card("Fills", "w7", null, scroll("", fills.element)),
    card("Rejects", "w5", "that name this order", scroll("", rejects.element)));
  return {
    refresh: async () => {
      const answer = await ask("order", Object.fromEntries(["exchange", "account", "order", "symbol"].map((key) => [key, parameters.get(key)])));
      facts.replaceChildren(answer.order === null ? h("p", { class: "dim" }, "There is no such order.") : factsOf(answer.order));
      eventNote.textContent = answer.events.length < EVENTS_SHOWN ? "" : "the newest 1,000";
      events.fill(answer.events, "Nothing is recorded yet, or its days have been dropped.");
      fills.fill(answer.fills, "No fill.");
      rejects.fill(answer.rejects, "None.");
    },
  };
}

export function fillsPage(main, frame, parameters) {
  const fills = table([fillColumns[0], strategyColumn, exchangeColumn, accountColumn, ...fillColumns.slice(1),
    { title: "cost", minor: true, decimal: true, key: (r) => r.cost, text: (r) => amount(r.cost) },
    { title: "fee", decimal: true, key: (r) => r.fee, text: (r) => (r.fee ? amount(r.fee) + " " + (r.fee_currency ?? "") : "–") },
    { title: "liquidity", left: true, words: true, minor: true, key: (r) => r.liquidity, text: (r) => name(r.liquidity) },
    { title: "trade", left: true, words: true, minor: true, key: (r) => r.trade_id, text: (r) => name(r.trade_id) }], "Fills", fillId);
  main.append(card("Fills", "w12", `the latest ${SHOWN} of a week`, filters("fills", parameters, whose), scroll("tall", fills.element)));
  return { refresh: async () => fills.fill(await ask("fills", { ...Object.fromEntries(parameters), limit: SHOWN }), "No fill.") };
}

export function positionsPage(main, frame, parameters) {
  const assumed = (r) => (r.assumed ? h("span", { class: "warn", title: "No instrument is recorded: one contract is taken for one unit." }, "contract size assumed") : "");
  const positions = table([...positionColumns.slice(0, 2), accountColumn, ...positionColumns.slice(2),
    { title: "realised", decimal: true, key: (r) => r.realized_pnl, text: (r) => money(r.realized_pnl) },
    { title: "currency", left: true, words: true, minor: true, key: (r) => r.currency, text: (r) => name(r.currency) },
    { title: "fills", minor: true, key: (r) => r.fills, text: (r) => count(r.fills) },
    { title: "last fill", key: (r) => r.last_fill_at, text: (r) => ago(r.last_fill_at) },
    { title: h("span", { class: "hidden" }, "remark"), left: true, words: true, text: assumed }], "Positions", positionId);
  const note = h("span", null, "open, or moved today");
  main.append(card("Positions", "w12", note, filters("positions", parameters, whose), scroll("tall", positions.element)));
  return {
    refresh: async () => {
      const rows = await ask("positions", { ...Object.fromEntries(parameters), limit: POSITIONS_SHOWN });
      positions.fill(rows, "No position.");
      note.textContent = rows.length < POSITIONS_SHOWN ? "open, or moved today" : "the 1,000 with the most unrealised PnL; narrow it down with the filters";
    },
  };
}
