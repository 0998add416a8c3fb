// charts.js: equity by uPlot, candles by Lightweight Charts. Charts are pictures: their points are
// doubles; every figure that is read as a number stands in a table, exact.
import uPlot from "/uPlot.esm.js";
import { CandlestickSeries, createChart, createSeriesMarkers } from "/lightweight-charts.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const LINES_MAX = 6;
const palette = ["--accent", "--warn", "--up", "--down", "--dim"];

// [[strategy, currency, time, equity]]: a line for each strategy in the currency that most rows have.
export function equityChart(element) {
  let plot = null;
  return (rows) => {
    const counts = new Map();
    for (const [, currency] of rows) counts.set(currency, (counts.get(currency) ?? 0) + 1);
    const currency = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
    const lines = new Map();
    for (const [strategy, of, at, equity] of rows) {
      if (of !== currency) continue;
      if (!lines.has(strategy)) lines.set(strategy, new Map());
      // an hour's sum holds from its end on; before its first hour a strategy had what it had, or nothing
      const line = lines.get(strategy), start = Date.parse(at) / 1000, now = Date.now() / 1000;
      if (line.size === 0) line.set(start, 0);
      line.set(Math.min(start + 3600, now), Number(equity));
    }
    plot?.destroy();
    plot = null;
    element.replaceChildren();
    if (lines.size === 0) {
      element.append(Object.assign(document.createElement("p"), { className: "dim", textContent: "No fill today yet." }));
      return;
    }
    const times = [...new Set([...lines.values()].flatMap((line) => [...line.keys()]))].sort((a, b) => a - b);
    // the lines that moved most; every strategy is in the table beside the chart
    const moved = ([, line]) => Math.abs([...line.values()].at(-1));
    const chosen = [...lines].sort((a, b) => moved(b) - moved(a)).slice(0, LINES_MAX);
    const data = [times, ...chosen.map(([, line]) => {
      let last = null;
      return times.map((at) => (last = line.get(at) ?? last));
    })];
    const axis = { stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") } };
    plot = new uPlot({
      width: element.clientWidth, height: element.clientHeight - 30,
      series: [{}, ...chosen.map(([strategy], i) => ({ label: strategy || "–", stroke: css(palette[i % palette.length]), width: 1.6 }))],
      axes: [axis, { ...axis, size: 70 }], legend: { live: false }, cursor: { drag: { x: false, y: false } },
    }, data, element);
  };
}

export function candleChart(element) {
  let chart = null, series = null, markers = null, seen = 0;
  return ({ candles, fills }) => {
    if (chart === null) {
      chart = createChart(element, {
        autoSize: true,
        layout: { background: { color: "transparent" }, textColor: css("--dim"), attributionLogo: false },
        grid: { vertLines: { color: css("--line") }, horzLines: { color: css("--line") } },
        timeScale: { timeVisible: true, secondsVisible: true, maxBarSpacing: 24, borderColor: css("--line") },
        rightPriceScale: { borderColor: css("--line") },
        // in the viewer's zone, as everywhere on the page
        localization: { timeFormatter: (at) => new Date(at * 1000).toLocaleString() },
      });
      series = chart.addSeries(CandlestickSeries, { upColor: css("--up"), downColor: css("--down"), borderVisible: false, wickUpColor: css("--up"), wickDownColor: css("--down") });
      markers = createSeriesMarkers(series, []);
    }
    const digits = Math.max(0, ...candles.slice(-50).map((c) => (c[4].split(".")[1] ?? "").length));
    series.applyOptions({ priceFormat: { type: "price", precision: Math.min(digits, 12), minMove: Number("1e-" + Math.min(digits, 12)) } });
    series.setData(candles.map(([time, open, high, low, close]) => ({ time, open: Number(open), high: Number(high), low: Number(low), close: Number(close) })));
    // the whole span at first, and whenever it had nothing to show before
    if (seen === 0 && candles.length > 0) chart.timeScale().fitContent();
    seen = candles.length;
    const known = new Set(candles.map((c) => c[0]));
    markers.setMarkers(fills.filter((f) => known.has(f.start)).map((f) => ({
      time: f.start, position: f.side === "buy" ? "belowBar" : "aboveBar", shape: f.side === "buy" ? "arrowUp" : "arrowDown",
      color: css(f.side === "buy" ? "--up" : "--down"), text: f.quantity,
    })));
  };
}
