// pipeline.js: how records get from the strategies into PostgreSQL: streams, producers, latency, the
// audit; and records that did not get there.
import { ask, Refused } from "/api.js";
import { isZero, signed } from "/decimal.js";
import { age, ago, amount, card, count, factsOf, fullness, h, hourTime, milliseconds, name, plural, scroll, time } from "/dom.js";
import { accountColumn, exchangeColumn, symbolColumn, table } from "/table.js";

// --- one row a stream ---

const RATES_KEPT = 60;
const LATENCY_MS = 15000; // it reads the rows of two hours
const pair = (ms) => (ms ? ms.map((v) => milliseconds(v).join(" ")).join(" / ") : "–");
const isLate = (seconds) => (seconds > 30 ? "down" : seconds > 5 ? "warn" : "");

const streamColumns = [
  { title: "stream", left: true, words: true, key: (r) => r.stream, text: (r) => name(r.stream.replace(/^blotter:/, "")) },
  { title: "producers", key: (r) => r.alive, text: (r) => (r.alive ? r.alive + " alive" : h("span", { class: "dim" }, r.alive === 0 ? "none alive" : "–")) },
  { title: "journal", left: true, key: (r) => (r.slots ? r.held / r.slots : -1), text: (r) => h("span", null, fullness(r.held, r.slots), r.trouble ? h("span", { class: "down" }, " " + r.trouble) : "") },
  { title: "records/s", key: (r) => r.rate, text: (r) => (r.rate === null ? h("span", { class: "dim" }, "–") : r.rate.toFixed(r.rate < 100 ? 1 : 0)) },
  { title: "waiting", key: (r) => r.lag, text: (r) => count(r.lag) },
  { title: "pending", key: (r) => r.pending, text: (r) => count(r.pending) },
  { title: "oldest", key: (r) => r.behind, text: (r) => (r.behind === null ? h("span", { class: "dim" }, "–") : h("span", { class: isLate(r.behind) }, age(r.behind))) },
  { title: "record → row, p50 / p99", minor: true, key: (r) => r.ms?.[1], text: (r) => pair(r.ms) },
  { title: "drainer", left: true, words: true, minor: true, key: (r) => r.drainer, text: (r) => h("span", { class: "dim" }, name(r.drainer)) },
  { title: "audit", left: true, words: true, key: (r) => r.audit, text: (r) => h("span", { class: r.audit === "nothing missing" ? "up" : r.bad ? "down" : "dim" }, r.audit ?? "–") },
];

// "blotter:okx:lane" has exchange okx and lane lane.
function placeOf(stream) {
  const [, exchange, ...lane] = stream.split(":");
  return exchange + "\n" + lane.join(":");
}
const placeOfRow = (row) => row.exchange + "\n" + (row.lane ?? "");

function producerFacts(producers) {
  const facts = new Map();
  for (const p of producers) {
    const place = placeOfRow(p);
    const sum = facts.get(place) ?? { alive: 0, held: null, slots: null, trouble: "" };
    if (p.alive) {
      sum.alive++;
      // the fullest journal of them
      if (p.slots && (sum.slots === null || p.held / p.slots > sum.held / sum.slots)) [sum.held, sum.slots] = [p.held, p.slots];
      if (p.redis_up === 0) sum.trouble = "Redis is away";
      if (p.full > 0) sum.trouble = p.full + " × full";
    }
    facts.set(place, sum);
  }
  return facts;
}

export function pipelineCard(place) {
  const streams = table(streamColumns, "Streams", (r) => r.stream, { limit: 200, more: (all) => `200 of ${all}, the slowest first; blotter status shows all` });
  const note = h("span");
  let status = null, answer = null;
  const seen = new Map(); // stream -> [{at, records}]

  function noteRates() {
    const at = Date.parse(answer.now);
    for (const s of answer.streams) {
      const samples = seen.get(s.stream) ?? [];
      if (samples.length === 0 || samples.at(-1).at < at) samples.push({ at, records: s.records });
      if (samples.length > RATES_KEPT) samples.shift();
      seen.set(s.stream, samples);
    }
  }

  // Over the last ten seconds that were seen.
  function rateOf(stream) {
    const samples = seen.get(stream) ?? [], last = samples.at(-1);
    const first = samples.find((s) => last.at - s.at <= 10000);
    return last && first && last.at - first.at >= 500 ? Math.max(0, (1000 * (last.records - first.records)) / (last.at - first.at)) : null;
  }

  function rows() {
    const facts = producerFacts(answer?.producers ?? []);
    const flow = new Map((answer?.flow ?? []).map((f) => [f.exchange, f.recorded_to_stored_ms]));
    const drainers = new Map((answer?.drainers ?? []).map((d) => [placeOfRow(d), d.drainer]));
    const audits = new Map((answer?.audit ?? []).map((a) => [placeOfRow(a), a]));
    const inRedis = new Map((status?.streams ?? []).map((s) => [s.stream, s]));
    const names = new Set([...inRedis.keys(), ...(answer?.streams ?? []).map((s) => s.stream)]);
    return [...names].map((stream) => {
      const s = inRedis.get(stream), at = placeOf(stream), exchange = at.split("\n")[0], audit = audits.get(at);
      return { stream, ...(facts.get(at) ?? { alive: answer === null ? null : 0, held: null, slots: null, trouble: "" }), rate: rateOf(stream), lag: s?.lag ?? null, pending: s?.pending ?? null,
        behind: s?.behind_s == null ? null : Number(s.behind_s), ms: flow.get(exchange) ?? null, drainer: drainers.get(at) ?? null, bad: (audit?.bad ?? 0) > 0,
        audit: answer === null ? null : audit === undefined ? "no producer with numbers" : audit.bad > 0 ? `${audit.bad} ${audit.states}` : "nothing missing" };
    }).sort((a, b) => (b.behind ?? 0) - (a.behind ?? 0) || (a.stream < b.stream ? -1 : 1));
  }

  function draw() {
    streams.fill(rows(), status?.redis_error ? "Redis is away: " + status.redis_error : "No stream yet: nothing has been recorded.");
    const lagging = status?.books_lag_s > 5 ? ` · books ${age(status.books_lag_s)} behind` : "";
    note.textContent = "strategy → journal → Redis → drainer → PostgreSQL" + (status?.drainers !== undefined ? ` · ${plural(status.drainers, "drainer")}` : "") + lagging;
  }

  return {
    element: card("Pipeline", place, note, scroll("", streams.element)),
    fill(nextStatus, nextAnswer) {
      status = nextStatus ?? status;
      answer = nextAnswer ?? answer;
      if (nextAnswer) noteRates();
      draw();
    },
    rate() {
      const rates = [...seen.keys()].map(rateOf).filter((r) => r !== null);
      return rates.length === 0 ? null : rates.reduce((a, b) => a + b, 0);
    },
  };
}

// --- the page ---

const producerColumns = [
  { title: "producer", left: true, words: true, key: (r) => r.producer_id, text: (r) => name(r.producer_id) },
  { title: "exchange", left: true, words: true, key: (r) => r.exchange, text: (r) => name(r.exchange + (r.lane ? ":" + r.lane : "")) },
  { title: "process", left: true, words: true, minor: true, key: (r) => r.host, text: (r) => (r.host ? name(r.host + " " + r.pid) : name(null)) },
  { title: "state", left: true, words: true, key: (r) => r.alive, text: (r) => h("span", { class: r.alive ? "up" : "dim" }, r.alive ? "alive" : "gone") },
  { title: "journal", left: true, key: (r) => (r.slots ? r.held / r.slots : -1), text: (r) => fullness(r.held, r.slots) },
  { title: "full", key: (r) => r.full, text: (r) => h("span", { class: r.full > 0 ? "down" : "" }, count(r.full)) },
  { title: "evicted", key: (r) => r.evicted, text: (r) => h("span", { class: r.evicted > 0 ? "warn" : "" }, count(r.evicted)) },
  { title: "Redis", left: true, words: true, key: (r) => r.redis_up, text: (r) => (r.redis_up === null ? name(null) : r.redis_up ? h("span", { class: "up" }, "connected") : h("span", { class: "down" }, "away" + (r.last_error_at_ns ? " for " + age(Date.now() / 1000 - r.last_error_at_ns / 1e9) : ""))) },
  { title: "heard of", key: (r) => r.last_at, text: (r) => ago(r.last_at) },
];

const auditColumns = [
  { title: "producer", left: true, words: true, key: (r) => r.producer_id, text: (r) => name(r.producer_id) },
  { title: "exchange", left: true, words: true, key: (r) => r.exchange, text: (r) => name(r.exchange + (r.lane ? ":" + r.lane : "")) },
  { title: "state", left: true, words: true, key: (r) => r.state, text: (r) => h("span", { class: r.state === "complete" ? "up" : r.state === "open" ? "" : "down" }, r.state) },
  { title: "settled", key: (r) => r.settled, text: (r) => count(r.settled) },
  { title: "last seq", key: (r) => r.last_seq, text: (r) => count(r.last_seq) },
  { title: "last heard of", key: (r) => r.last_at, text: (r) => time(r.last_at) },
];

// Every measure of the function is a column here: median / p99 / largest.
const LATENCY_TITLES = { exchange_to_recorded_ms: "venue → strategy", recorded_to_stored_ms: "strategy → row", order_to_ack_ms: "order → ack", ack_to_fill_ms: "ack → fill", slippage_bps: "slippage, bps" };
function latencyColumns(row) {
  const three = (values, unit) => (Array.isArray(values) && values.some((v) => v !== null) ? values.map((v) => (v === null ? "–" : unit ? milliseconds(Number(v)).join(" ") : Number(v).toFixed(1))).join(" / ") : h("span", { class: "dim" }, "–"));
  return [
    { title: "hour", left: true, key: (r) => r.hour, text: (r) => h("span", { class: "dim" }, hourTime(r.hour)) },
    { title: "exchange", left: true, words: true, key: (r) => r.exchange, text: (r) => name(r.exchange) },
    { title: "kind", left: true, words: true, key: (r) => r.kind, text: (r) => r.kind },
    ...Object.keys(row).filter((key) => /_(ms|bps)$/.test(key)).map((key) => ({ title: LATENCY_TITLES[key] ?? key.replaceAll("_", " "), text: (r) => three(r[key], key.endsWith("_ms")) })),
  ];
}

export function pipelinePage(main, frame) {
  const pipeline = pipelineCard("w12");
  const producers = table(producerColumns, "Producers", (r) => r.producer_id), audit = table(auditColumns, "Audit", (r) => r.producer_id + r.exchange);
  const latency = scroll("");
  main.append(pipeline.element,
    card("Producers", "w12", "heard of in the last two minutes; counters of their last heartbeat", scroll("", producers.element)),
    card("Latency", "w12", "this hour and the last: median / p99 / largest", latency),
    card("Audit", "w12", "by counters; blotter audit looks at every row", scroll("", audit.element)));
  let columns = "", rows = null, latencyAt = 0;

  async function drawLatency() {
    let latencyRows;
    try {
      latencyRows = await ask("latency", { hours: 1 });
    } catch (error) {
      if (error instanceof Refused) throw error;
      rows = null;
      latency.replaceChildren(h("p", { class: "warn" }, error.message));
      return;
    }
    const row = latencyRows[0] ?? { recorded_to_stored_ms: null }, keys = Object.keys(row).join();
    if (rows === null || columns !== keys) {
      columns = keys;
      rows = table(latencyColumns(row), "Latency", (r) => [r.hour, r.exchange, r.kind].join("\n"));
      latency.replaceChildren(rows.element);
    }
    rows.fill(latencyRows, "Nothing was recorded in the last hour.");
  }

  return {
    onStatus: (status) => pipeline.fill(status),
    refresh: async () => {
      const [answer, auditRows] = await Promise.all([ask("pipeline"), ask("audit")]);
      pipeline.fill(frame.status(), answer);
      producers.fill(answer.producers, "No producer with a sender of its own was heard of.");
      audit.fill(auditRows, "No producer yet.");
      // the latency last: nothing else waits for it, or is missing where it takes too long
      if (Date.now() - latencyAt > LATENCY_MS) {
        latencyAt = Date.now();
        await drawLatency();
      }
    },
  };
}

// --- rejects ---

export function rejectsPage(main, frame, parameters) {
  const id = parameters.get("id");
  if (id !== null) return rejectPage(main, id);
  const rejects = table([
    { title: "id", left: true, key: (r) => r.id, text: (r) => h("a", { href: "#/rejects?id=" + r.id }, String(r.id)) },
    { title: "rejected", left: true, key: (r) => r.rejected_at, text: (r) => time(r.rejected_at) },
    { title: "stream", left: true, words: true, key: (r) => r.stream, text: (r) => name(r.stream) },
    { title: "reason", left: true, words: true, wrap: true, key: (r) => r.reason, text: (r) => name(r.reason) },
    { title: "bytes", key: (r) => r.bytes, text: (r) => count(r.bytes) },
  ], "Rejects", (r) => r.id);
  main.append(card("Rejects", "w12", "records that could not be stored; blotter rejects replay loads them again", scroll("tall", rejects.element)));
  return { refresh: async () => rejects.fill(await ask("rejects", { limit: 500 }), "No reject waits for a decision.") };
}

function rejectPage(main, id) {
  const facts = h("div"), record = h("pre", { tabindex: 0 }), text = h("pre", { tabindex: 0 });
  main.append(card("Reject " + id, "w12", h("a", { href: "#/rejects" }, "all rejects"), facts),
    card("The record", "w6", "as far as it can be read", record),
    card("Its bytes", "w6", "the first 4 KiB; bytes that are not printable as \\ooo", text));
  return {
    refresh: async () => {
      const reject = await ask("reject", { id });
      if (reject === null) {
        facts.replaceChildren(h("p", { class: "dim" }, "There is no such reject."));
        return;
      }
      const { text: bytes, record: decoded, ...rest } = reject;
      facts.replaceChildren(factsOf(rest));
      record.textContent = decoded === null ? "It cannot be read as a record." : decoded;
      text.textContent = bytes;
    },
  };
}

// --- reconciliation ---

const RECONCILIATION_MS = 5000; // it reads a day of balances and fills

export function reconciliationPage(main, frame, parameters) {
  const only = parameters.get("show") ?? "";
  const rows = table([
    { title: "agrees", left: true, words: true, key: (r) => r.agrees, text: (r) => (r.agrees === null ? h("span", { class: "warn" }, "not known") : r.agrees ? h("span", { class: "up" }, "yes") : h("span", { class: "down" }, "no")) },
    exchangeColumn, accountColumn,
    { title: "what", left: true, words: true, key: (r) => r.kind, text: (r) => r.kind },
    { ...symbolColumn, title: "symbol or currency", key: (r) => r.symbol || r.currency, text: (r) => (r.currency ? name(r.currency) : symbolColumn.text(r)) },
    { title: "ours", decimal: true, key: (r) => r.ours, text: (r) => amount(r.ours) },
    { title: "venue's", decimal: true, key: (r) => r.venue, text: (r) => amount(r.venue) },
    { title: "difference", decimal: true, key: (r) => r.difference, text: (r) => h("span", { class: isZero(r.difference) ? "dim" : r.agrees === false ? "down" : "warn" }, signed(r.difference)) },
    { title: "venue said so", minor: true, key: (r) => r.venue_at, text: (r) => ago(r.venue_at) },
    { title: "note", left: true, words: true, wrap: true, key: (r) => r.note, text: (r) => name(r.note) },
  ], "Reconciliation", (r) => [r.exchange, r.account, r.kind, r.market_type, r.symbol, r.position_side, r.currency].join("\n"));
  const verdict = h("span");
  const choice = h("select", { onchange: () => (location.hash = "#/reconciliation" + (choice.value ? "?show=" + choice.value : "")) },
    [["", "everything"], ["differs", "what differs or is not known"]].map(([value, text]) => h("option", { value, selected: value === only }, text)));
  main.append(card("Reconciliation", "w12", verdict, h("div", { class: "filters", role: "search" }, h("label", null, "show", choice)), scroll("tall", rows.element)));
  let askedAt = 0;
  return {
    refresh: async () => {
      const early = askedAt + RECONCILIATION_MS - Date.now();
      if (early > 0) return early;
      const all = await ask("reconciliation"), wrong = all.filter((r) => r.agrees !== true), differ = wrong.filter((r) => r.agrees === false).length;
      askedAt = Date.now();
      frame.compared(all);
      const unknown = wrong.length - differ, rest = unknown > 0 ? `, ${unknown} not known` : "";
      verdict.replaceChildren(h("span", { class: differ > 0 ? "down" : unknown > 0 ? "warn" : all.length > 0 ? "up" : "" },
        all.length === 0 ? "the venues have not been asked" : wrong.length === 0 ? `all ${all.length} agree` : (differ > 0 ? `${differ} of ${all.length} differ` : `${all.length - unknown} agree`) + rest));
      rows.fill(only === "differs" ? wrong : all, all.length === 0
        ? "Nothing to compare: record what the venue's fetch_positions and fetch_balance say, and its trades and orders with origin venue."
        : "Everything agrees.");
    },
  };
}
