// candles.js: the candles of recorded trades, and where the desk traded in them.
import { ask } from "/api.js";
import { candleChart } from "/charts.js";
import { card, h, name, plural } from "/dom.js";

const HOURS = { "1 second": 0.5, "5 seconds": 2, "1 minute": 12, "5 minutes": 60, "15 minutes": 180, "1 hour": 720, "1 day": 17280 };
const STEPS = [["", "by itself"], ["1 second", "1 s"], ["5 seconds", "5 s"], ["1 minute", "1 min"], ["5 minutes", "5 min"], ["15 minutes", "15 min"], ["1 hour", "1 h"], ["1 day", "1 d"]];
const FILLS_SHOWN = 1000; // by the API
const FEW = 30; // candles: with fewer, a shorter interval shows more

export function candlesPage(main, frame, parameters) {
  const chart = h("div", { class: "chart big", role: "img", "aria-label": "Candles with own fills" });
  const note = h("span");
  const symbol = h("select", { onchange: change }), interval = h("select", { onchange: change }, STEPS.map(([value, text]) => h("option", { value, selected: value === (parameters.get("interval") ?? "") }, text)));
  main.append(card("Candles", "w12", note, h("div", { class: "filters", role: "search" }, h("label", null, "symbol", symbol), h("label", null, "interval", interval)), chart));
  const draw = candleChart(chart);
  let symbols = null;

  function change() {
    const [exchange, of] = JSON.parse(symbol.value);
    const next = new URLSearchParams({ exchange, symbol: of });
    if (interval.value !== "") next.set("interval", interval.value);
    location.hash = "#/candles?" + next;
  }

  // The first time: what there is, the busiest first, and what is asked for even if it is not among them.
  async function readSymbols() {
    symbols = (await ask("symbols")).map((s) => [s.exchange, s.symbol]);
    const wanted = parameters.has("symbol") ? [parameters.get("exchange") ?? symbols.find((s) => s[1] === parameters.get("symbol"))?.[0] ?? "", parameters.get("symbol")] : symbols[0];
    if (wanted === undefined) return null;
    if (!symbols.some((s) => s[0] === wanted[0] && s[1] === wanted[1])) symbols.unshift(wanted);
    symbol.replaceChildren(...symbols.map((s) => h("option", { value: JSON.stringify(s), selected: s[0] === wanted[0] && s[1] === wanted[1] }, s[1] + " · " + s[0])));
    return wanted;
  }

  const answerOf = ([exchange, of], step) => ask("candles", { exchange, symbol: of, interval: step, from: new Date(Date.now() - HOURS[step] * 3600e3).toISOString() });

  let wanted = null, step = parameters.get("interval") || "1 minute";
  if (!(step in HOURS)) step = "1 minute";
  return {
    refresh: async () => {
      wanted ??= await readSymbols();
      if (wanted === null) {
        note.textContent = "no trades and no fills are recorded yet";
        symbols = null;
        return;
      }
      let answer = await answerOf(wanted, step);
      if (!parameters.has("interval") && step === "1 minute" && answer.candles.length > 0 && answer.candles.length < FEW) {
        step = "5 seconds";
        answer = await answerOf(wanted, step);
      }
      note.replaceChildren(name(wanted[1]), ` · ${plural(answer.candles.length, "candle")} of ${step} · ${answer.fills.length < FILLS_SHOWN ? plural(answer.fills.length, "own fill") : "the newest 1,000 own fills"}`);
      draw(answer);
    },
  };
}
