// charts.js: the day's PnL by uPlot, candles by Lightweight Charts. Charts are pictures: their points
// are doubles; every figure that is read as a number stands in a table, exact.
import uPlot from "/uPlot.esm.js";
import { CandlestickSeries, createChart, createSeriesMarkers } from "/lightweight-charts.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const LINES_MAX = 4; // beside the desk's own
const LABELS_MAX = 24; // of marks: more would cover each other
const CANDLE_MAX = 24; // pixels at first, so that few candles are not bars
const palette = ["--accent", "--warn", "--violet", "--dim"];
const dark = matchMedia("(prefers-color-scheme: dark)");

// Draws again when the window or the colours change.
function keepDrawn(element, draw) {
  const redraw = () => {
    if (element.isConnected) return draw();
    observer.disconnect();
    dark.removeEventListener("change", redraw); // it would hold the chart for as long as the page is open
  };
  const observer = new ResizeObserver(redraw);
  observer.observe(element);
  dark.addEventListener("change", redraw);
}

// {from, lines: [{strategy, points: [[seconds, pnl]]}]}: strategy null is the desk, drawn strong.
export function curveChart(element) {
  let plot = null, answer = null, size = "";

  function options(lines, width, height) {
    const axis = { stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const total = css(Number(lines[0].points.at(-1)[1]) < 0 ? "--down" : "--up");
    return {
      width, height,
      series: [{}, ...lines.map(({ strategy }, at) => at === 0
        ? { label: "desk", stroke: total, width: 2, fill: total + "22", points: { show: false } }
        : { label: strategy || "–", stroke: css(palette[(at - 1) % palette.length]), width: 1.2, points: { show: false } })],
      axes: [{ ...axis, size: 26, space: 72, values: (u, ticks, at, space, step) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}), hourCycle: "h23" })) },
        { ...axis, size: 64, values: (u, ticks) => ticks.map((v) => v.toLocaleString()) }],
      legend: { live: false }, cursor: { drag: { x: false, y: false } },
    };
  }

  function draw() {
    plot?.destroy();
    plot = null;
    element.replaceChildren();
    if (answer === null) return;
    if (answer.lines.length === 0) {
      element.append(Object.assign(document.createElement("p"), { className: "dim", textContent: "No fill today yet." }));
      return;
    }
    const lines = answer.lines.slice(0, LINES_MAX + 1), first = Date.parse(answer.from) / 1000, now = Date.now() / 1000;
    const times = [...new Set([first, ...lines.flatMap((line) => line.points.map((p) => p[0])), now])].filter((at) => at <= now).sort((a, b) => a - b);
    // before its first fill a strategy has made nothing; between its fills, what it had made
    const data = [times, ...lines.map((line) => {
      const known = new Map(line.points.map(([at, pnl]) => [at, Number(pnl)]));
      let last = 0;
      return times.map((at) => (last = known.get(at) ?? last));
    })];
    plot = new uPlot(options(lines, element.clientWidth, element.clientHeight - 26), data, element);
  }

  keepDrawn(element, () => {
    const next = element.clientWidth + "x" + element.clientHeight + dark.matches;
    if (next !== size) {
      size = next;
      draw();
    }
  });
  return (next) => {
    answer = next;
    draw();
  };
}

// One mark for all buys of a candle and one for all sells, as many fills would hide the candle.
function marksOf(candles, fills) {
  const known = new Set(candles.map((c) => c[0])), marks = new Map();
  for (const f of fills) {
    if (!known.has(f.start)) continue;
    const key = f.start + f.side, mark = marks.get(key) ?? { start: f.start, side: f.side, fills: 0, quantity: f.quantity };
    mark.fills++;
    marks.set(key, mark);
  }
  const all = [...marks.values()].sort((a, b) => a.start - b.start);
  return all.map((m) => ({
    time: m.start, position: m.side === "buy" ? "belowBar" : "aboveBar", shape: m.side === "buy" ? "arrowUp" : "arrowDown",
    color: css(m.side === "buy" ? "--up" : "--down"), text: all.length > LABELS_MAX ? "" : m.fills === 1 ? m.quantity : m.fills + " fills",
  }));
}

export function candleChart(element) {
  let chart = null, series = null, markers = null, seen = 0, answer = { candles: [], fills: [] };

  function colour() {
    chart?.applyOptions({
      layout: { background: { color: "transparent" }, textColor: css("--dim") },
      grid: { vertLines: { color: css("--line") }, horzLines: { color: css("--line") } },
      timeScale: { borderColor: css("--line") }, rightPriceScale: { borderColor: css("--line") },
    });
    series?.applyOptions({ upColor: css("--up"), downColor: css("--down"), borderVisible: false, wickUpColor: css("--up"), wickDownColor: css("--down") });
    markers?.setMarkers(marksOf(answer.candles, answer.fills));
  }

  function make() {
    const zone = (options) => (at) => new Date(at * 1000).toLocaleString(undefined, { hourCycle: "h23", ...options });
    chart = createChart(element, {
      autoSize: true,
      layout: { attributionLogo: false }, // from the beginning: the logo would bring a style of its own
      // in the viewer's zone, as everywhere on the page
      timeScale: { timeVisible: true, secondsVisible: true, rightOffset: 2, tickMarkFormatter: (at, kind) => zone(kind < 3 ? { month: "short", day: "2-digit" } : { hour: "2-digit", minute: "2-digit", ...(kind > 3 ? { second: "2-digit" } : {}) })(at) },
      localization: { timeFormatter: zone({ month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" }) },
    });
    series = chart.addSeries(CandlestickSeries, {});
    markers = createSeriesMarkers(series, []);
    colour();
    keepDrawn(element, colour);
  }

  return (next) => {
    answer = next;
    const { candles, fills } = next;
    if (chart === null) make();
    const digits = Math.min(12, Math.max(0, ...candles.slice(-50).map((c) => (c[4].split(".")[1] ?? "").replace(/0+$/, "").length)));
    series.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: Number("1e-" + digits) } });
    series.setData(candles.map(([time, open, high, low, close]) => ({ time, open: Number(open), high: Number(high), low: Number(low), close: Number(close) })));
    // the whole span at first, and whenever it had nothing to show before. The library's own limit of half the chart stays: with the option
    // maxBarSpacing it throws where the chart is narrower than a candle
    const last = candles.length + 1;
    if (seen === 0 && candles.length > 0) chart.timeScale().setVisibleLogicalRange({ from: Math.min(0, last + 1 - element.clientWidth / CANDLE_MAX), to: last });
    seen = candles.length;
    markers.setMarkers(marksOf(candles, fills));
  };
}
