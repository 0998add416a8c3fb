// desk.js: the first screen: is all well, what is open, what was earned today and by whom.
import { ask } from "/api.js";
import { curveChart } from "/charts.js";
import { group, isNegative, isZero, round, signed } from "/decimal.js";
import { ago, amount, byMagnitude, card, computed, count, h, milliseconds, money, plural, scroll, shortTime, sided, spark, time } from "/dom.js";
import { exchangeColumn, orderLink, strategyColumn, symbolColumn, table } from "/table.js";
import { pipelineCard } from "/pipeline.js";

const CURVE_MS = 5000; // the curve is asked for less often than the figures
const POSITIONS_SHOWN = 100;

function kpi(title, href) {
  const value = h("strong", null, "–"), note = h("small", null, "\u00a0");
  return { element: h("section", { class: "card kpi", "aria-label": title }, h("h2", null, href ? h("a", { class: "plain", href }, title) : title), value, note),
    fill(nodes, text) { value.replaceChildren(...[nodes].flat()); note.replaceChildren(...[text || "\u00a0"].flat()); } };
}

const unit = (text) => h("span", { class: "unit" }, " " + (text || "?"));

// The currency in which most was traded leads; the others follow in the note.
function moneyKpi(box, pnl, member, note) {
  const lead = pnl[0];
  const others = pnl.slice(1).filter((p) => p[member] !== null && !isZero(p[member])).slice(0, 3)
    .map((p) => signed(round(p[member], 4)) + " " + (p.currency || "?"));
  box.fill(lead ? [money(lead[member]), unit(lead.currency)] : "–", [note, ...others.map((text) => " · " + text)]);
}

// Fees are shown as what they do to the PnL: paid is negative. Funding is exact, so it is beside them, not added.
const negated = (text) => (text === null || isZero(text) ? text : isNegative(text) ? text.slice(1) : "-" + text);
function feesKpi(box, pnl) {
  const note = pnl.flatMap((p, at) => [
    at > 0 && p.fees !== null && !isZero(p.fees) ? signed(round(negated(p.fees), 4)) + " " + (p.currency || "?") : null,
    p.funding !== null && !isZero(p.funding) ? "funding " + signed(round(p.funding, 2)) + " " + (p.currency || "?") : null]).filter(Boolean);
  box.fill(pnl[0] ? [money(negated(pnl[0].fees)), unit(pnl[0].currency)] : "–", note.slice(0, 3).join(" · ") || "no funding");
}

export const positionColumns = [
  strategyColumn, exchangeColumn, symbolColumn,
  { title: "side", left: true, words: true, key: (r) => r.position_side, text: (r) => sided(r.position_side || (isZero(r.quantity) ? "flat" : isNegative(r.quantity) ? "short" : "long")) },
  { title: "quantity", decimal: true, key: (r) => r.quantity, text: (r) => amount(r.quantity) },
  { title: "average", minor: true, decimal: true, key: (r) => r.average_price, text: (r) => computed(r.average_price, r.mark_price) },
  { title: "mark", minor: true, decimal: true, key: (r) => r.mark_price, text: (r) => amount(r.mark_price) },
  { title: "unrealised", decimal: true, key: (r) => r.unrealized_pnl, text: (r) => money(r.unrealized_pnl) },
  { title: "realised today", decimal: true, key: (r) => r.realized_today, text: (r) => money(r.realized_today) },
];
export const positionId = (r) => [r.exchange, r.account, r.strategy, r.market_type, r.symbol, r.position_side].join("\n");

export const fillColumns = [
  { title: "time", left: true, key: (r) => r.at, text: (r) => h("span", { class: "dim" }, time(r.at)) },
  symbolColumn,
  { title: "side", left: true, words: true, key: (r) => r.side, text: (r) => sided(r.side) },
  { title: "price", decimal: true, key: (r) => r.price, text: (r) => amount(r.price) },
  { title: "quantity", decimal: true, key: (r) => r.quantity, text: (r) => (r.order_id || r.client_order_id ? orderLink(r, amount(r.quantity)) : amount(r.quantity)) },
];
export const fillId = (f) => [f.exchange, f.trade_id, f.order_id, f.side].join("\n");

function strategyColumns(lines) {
  const of = (r) => r.pnl?.[0];
  const others = (r) => (r.pnl ?? []).slice(1).filter((p) => p.total !== null && !isZero(p.total)).map((p) => "and " + signed(round(p.total, 4)) + " " + (p.currency || "?")).join(", ") || null;
  return [
    strategyColumn,
    { title: "PnL", decimal: true, key: (r) => of(r)?.total, text: (r) => h("span", null, money(of(r)?.total), h("span", { class: "dim", title: others(r) }, " " + (of(r)?.currency ?? "") + (others(r) ? " …" : ""))) },
    { title: "fills", key: (r) => r.fills, text: (r) => count(r.fills) },
    { title: "open", key: (r) => r.open_orders, text: (r) => count(r.open_orders) },
    { title: "last", key: (r) => r.last_at, text: (r) => ago(r.last_at) },
    { title: h("span", { class: "hidden" }, "today"), minor: true, text: (r) => h("span", { "data-spark": r.strategy }, spark(lines.get(r.strategy))) },
  ];
}

export function deskPage(main, frame) {
  const today = kpi("PnL today"), realised = kpi("Realised", "#/fills"), unrealised = kpi("Unrealised", "#/positions"), fees = kpi("Fees, funding"),
    open = kpi("Open orders", "#/orders"), flow = kpi("Record → row, p99", "#/pipeline");
  const lines = new Map();
  const positions = table(positionColumns, "Positions", positionId, { limit: POSITIONS_SHOWN, more: () => h("a", { href: "#/positions" }, `the ${POSITIONS_SHOWN} that matter most; all`) });
  const fills = table([{ ...fillColumns[0], text: (r) => h("span", { class: "dim" }, shortTime(r.at)) }, ...fillColumns.slice(1)], "Fills", fillId);
  const strategies = table(strategyColumns(lines), "Strategies", (r) => r.strategy);
  const curve = h("div", { class: "chart", role: "img", "aria-label": "PnL of today: the desk and the strategies that moved most" });
  const curveNote = h("span"), strategyNote = h("span"), positionNote = h("a", { href: "#/positions" }, "all");
  const pipeline = pipelineCard("pipeline");
  main.append(h("div", { class: "kpis" }, today.element, realised.element, unrealised.element, fees.element, open.element, flow.element),
    card("PnL over the day", "curve", curveNote, curve),
    card("By strategy", "strategies", strategyNote, scroll("", strategies.element)),
    card("Positions", "positions", positionNote, scroll("", positions.element)),
    card("Fills", "fills", h("a", { href: "#/fills" }, "all"), scroll("", fills.element)),
    pipeline.element);
  const chart = curveChart(curve);
  let curveAt = 0;

  function drawCurve(answer) {
    lines.clear();
    for (const line of answer.lines) if (line.strategy !== null) lines.set(line.strategy, line.points);
    for (const element of main.querySelectorAll("[data-spark]")) element.replaceChildren(spark(lines.get(element.dataset.spark)));
    curveNote.textContent = answer.currency ? `${answer.currency}, net of fees, with unrealised at the last fills' prices` : "";
    chart(answer);
  }

  function drawFigures(overview) {
    moneyKpi(today, overview.pnl, "total", overview.pnl[0]?.unrealized === null ? h("span", { class: "warn" }, "net of fees, without unrealised") : "net of fees, with unrealised");
    moneyKpi(realised, overview.pnl, "realized", plural(overview.fills_today, "fill"));
    moneyKpi(unrealised, overview.pnl, "unrealized", plural(overview.positions, "open position") + (overview.pnl[0]?.unrealized === null ? ", one without a price" : ""));
    feesKpi(fees, overview.pnl);
    open.fill(group(String(overview.open_orders)), overview.open_orders === 0 ? "" : [overview.unanswered_orders > 0 ? h("span", { class: "warn" }, group(String(overview.unanswered_orders)) + " without answer · ") : "", "oldest ", ago(overview.oldest_open_order)]);
    strategyNote.textContent = overview.strategy_count > overview.strategies.length ? `the ${overview.strategies.length} busiest of ${group(String(overview.strategy_count))}` : "";
    strategies.fill([...overview.strategies].sort((a, b) => byMagnitude(a.pnl?.[0]?.total, b.pnl?.[0]?.total)), "No strategy has recorded anything yet.");
  }

  function drawPipeline(answer) {
    pipeline.fill(frame.status(), answer);
    const worst = answer.flow.reduce((a, b) => (a === null || b.recorded_to_stored_ms[1] > a.recorded_to_stored_ms[1] ? b : a), null);
    const rate = pipeline.rate();
    flow.fill(worst === null ? "–" : milliseconds(worst.recorded_to_stored_ms[1]).map((part, at) => (at === 0 ? part : unit(part))),
      [rate === null ? null : group(String(Math.round(rate))) + " records/s", worst === null ? "nothing in five minutes" : worst.exchange].filter(Boolean).join(" · "));
  }

  return {
    onStatus: (status) => pipeline.fill(status),
    refresh: async () => {
      const [overview, positionRows, fillRows, pipelineAnswer] = await Promise.all([
        ask("overview"), ask("positions", { limit: POSITIONS_SHOWN + 1 }), ask("fills", { limit: 50 }), ask("pipeline")]);
      frame.overview(overview);
      drawFigures(overview);
      const held = positionRows.filter((p) => !isZero(p.quantity)).sort((a, b) => byMagnitude(a.unrealized_pnl, b.unrealized_pnl));
      positions.fill(held, "No open position.");
      fills.fill(fillRows, "No fill yet.");
      drawPipeline(pipelineAnswer);
      // the curve last: the figures do not wait for it
      if (Date.now() - curveAt >= CURVE_MS) {
        drawCurve(await ask("curve"));
        curveAt = Date.now();
      }
    },
  };
}
