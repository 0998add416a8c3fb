// page.js: the frame: the line that says whether all is well, the way between pages, and when a page
// asks again. A page is a function that fills <main>; it returns refresh(), which asks and draws, and
// perhaps onStatus(status).
import { ask, Refused, REFUSED_TEXT, takeToken } from "/api.js";
import { candlesPage } from "/candles.js";
import { deskPage } from "/desk.js";
import { group } from "/decimal.js";
import { age, h, plural } from "/dom.js";
import { fillsPage, orderPage, ordersPage, positionsPage } from "/orders.js";
import { pipelinePage, reconciliationPage, rejectsPage } from "/pipeline.js";

const IDLE_MS = 15000; // how often a page asks without a commit, as rates and days change by themselves
const OVERVIEW_MS = 5000; // how often pages other than the desk look whether all is well
const LATE_S = 5;
const COMPARED_MS = 30000; // how often what the venues say is looked at
const DIFFERS_MS = 30000; // for so long a difference may be one of time: a fill that is on its way
const REJECTS_COUNTED = 10000; // by the API

const pages = { desk: ["Desk", deskPage], orders: ["Orders", ordersPage], fills: ["Fills", fillsPage], positions: ["Positions", positionsPage],
  candles: ["Candles", candlesPage], pipeline: ["Pipeline", pipelinePage], rejects: ["Rejects", rejectsPage], reconciliation: ["Reconciliation", reconciliationPage], order: [null, orderPage] };

const main = document.getElementById("main");
const verdict = document.getElementById("verdict");
let page = null, asking = false, again = false, timer = null, overviewAt = 0, comparedAt = 0;
let uncompared = ""; // why not
let differs = new Map(); // row of reconciliation that differs -> {since, row}
let lastStatus = null, lastOverview = null, connected = false, trouble = "", refused = false;

const frame = {
  status: () => lastStatus,
  overview(overview) {
    lastOverview = overview;
    overviewAt = Date.now();
    const link = document.querySelector('nav a[data-page="rejects"]');
    link?.replaceChildren("Rejects", overview.rejects > 0 ? h("span", { class: "warn" }, " " + rejectCount()) : "");
    drawVerdict();
  },
  compared(rows) {
    comparedAt = Date.now();
    uncompared = "";
    differs = new Map(rows.filter((r) => r.agrees === false).map((row) => {
      const id = [row.exchange, row.account, row.kind, row.market_type, row.symbol, row.currency].join("\n");
      return [id, { since: differs.get(id)?.since ?? Math.min(comparedAt, Date.parse(row.venue_at)), row }];
    }));
    drawVerdict();
  },
};

// --- is all well? ---

const rejectCount = () => (lastOverview.rejects < REJECTS_COUNTED ? String(lastOverview.rejects) : group(String(REJECTS_COUNTED)) + " or more");

// What the venues say otherwise, and have said for a while.
function differences() {
  const old = [...differs.values()].filter(({ since }) => Date.now() - since >= DIFFERS_MS).map(({ row }) => row);
  if (old.length === 0) return [];
  const [r] = old, what = `${r.kind}${r.symbol || r.currency ? " of " + (r.symbol || r.currency) : ""} at ${r.exchange}`;
  return [["down", plural(old.length, "thing is", "things are") + " not as the venue says", `${what}: ours ${group(r.ours)}, theirs ${group(r.venue)}${r.note ? ", " + r.note : ""}`]];
}

// What is not well, the worst first: [tone, what, more].
function troubles() {
  const status = lastStatus ?? {}, found = [];
  const audit = lastOverview?.audit ?? {}, streams = status.streams ?? [];
  if (refused) return [["down", "no access", REFUSED_TEXT]];
  if (!connected) return [["down", "not connected", trouble || "blotter web does not answer; trying again every second"]];
  if (status.postgres_error) found.push(["down", "PostgreSQL is away", status.postgres_error]);
  if (status.redis_error) found.push(["down", "Redis is away", status.redis_error]);
  if (trouble !== "" && found.length === 0) found.push(["down", "something is away", trouble]);
  for (const state of ["missing", "doubled", "forged"]) if (audit[state] > 0) found.push(["down", "records are " + state, `of ${plural(audit[state], "producer")}: blotter audit`]);
  for (const s of status.stuck ?? []) found.push(["down", `${s.stream} is stuck`, `for ${age(Number(s.since_s))}: ${s.why}`]);
  if (status.open_incidents > 0) found.push(["down", plural(status.open_incidents, "incident is open", "incidents are open"), "blotter audit names them"]);
  found.push(...differences());
  const late = streams.filter((s) => Number(s.behind_s ?? 0) > LATE_S).sort((a, b) => b.behind_s - a.behind_s);
  if (late.length > 0 && found.length === 0) found.push(["warn", `${late[0].stream.replace(/^blotter:/, "")} is ${age(Number(late[0].behind_s))} behind`, late.length > 1 ? `and ${plural(late.length - 1, "other")}` : `${late[0].lag} waiting, ${late[0].pending} pending`]);
  if (uncompared !== "") found.push(["warn", "not compared with the venues", uncompared]);
  if (status.drainers === 0 && streams.length > 0) found.push(["warn", "no drainer runs", "what is recorded waits in Redis"]);
  if (status.books_lag_s > LATE_S) found.push(["warn", "the books are behind", `by ${age(Number(status.books_lag_s))}: positions and PnL are older than orders`]);
  if (lastOverview?.rejects > 0) found.push(["warn", `${rejectCount()} ${lastOverview.rejects === 1 ? "reject waits" : "rejects wait"}`, "for a decision"]);
  return found;
}

// The one line at the top.
function drawVerdict() {
  const found = troubles(), [worst] = found;
  let tone = "up", first = "all is well", rest;
  if (worst !== undefined) {
    [tone, first, rest] = worst;
    if (found.length > 1) rest += ` · and ${found.slice(1, 3).map((t) => t[1]).join(", ")}`;
  } else if (lastStatus === null) {
    [tone, first, rest] = ["", "looking", "for the first answer of Redis"];
  } else if (lastStatus.streams.length === 0) {
    rest = "nothing has been recorded yet";
  } else {
    const open = lastOverview?.audit.open ?? 0;
    rest = `${plural(lastStatus.streams.length, "stream")}, nothing waits, nothing is missing${open > 0 ? ` · ${plural(open, "producer")} recording` : ""}`;
  }
  const text = first + (rest ? " · " + rest : "");
  if (verdict.dataset.text === text + tone) return; // a screen reader would read it again
  verdict.dataset.text = text + tone;
  verdict.replaceChildren(h("span", { class: "dot " + tone }), h("span", null, h("b", { class: tone === "up" ? "" : tone }, first), h("span", { class: "dim" }, rest ? " · " + rest : "")));
  document.title = (tone === "up" || tone === "" ? "" : "⚠ ") + "Blotter";
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
  const text = error instanceof Refused ? error.message : (page.drawn ? "These figures are old: " : "There are no figures yet: ") + error.message;
  if (notice.textContent !== text) notice.textContent = text;
}

// --- when a page asks ---

// The figures of a page are not old where this fails.
async function compare() {
  comparedAt = Date.now();
  try {
    frame.compared(await ask("reconciliation"));
  } catch (error) {
    if (error instanceof Refused) throw error;
    uncompared = error.message;
  }
}

async function update() {
  clearTimeout(timer);
  timer = null;
  if (asking) {
    again = true;
    return;
  }
  const mine = page;
  let next = IDLE_MS;
  asking = true;
  try {
    next = (await mine.refresh()) ?? IDLE_MS; // a page that may not ask yet says when it may
    mine.drawn = true;
    if (Date.now() - overviewAt > OVERVIEW_MS) frame.overview(await ask("overview"));
    if (Date.now() - comparedAt > COMPARED_MS) await compare();
    if (mine === page) showError(null);
  } catch (error) {
    refused = error instanceof Refused;
    if (mine === page) showError(error);
    drawVerdict();
  } finally {
    asking = false;
    if (again) {
      again = false;
      updateNow();
    } else if (!refused) {
      timer ??= setTimeout(update, next);
    }
  }
}

// The server tells all viewers of a commit together, and not more often than it should be asked.
function updateNow() {
  if (!document.hidden) update();
}

function show() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [, open] = pages[path] ?? pages.desk;
  main.replaceChildren();
  main.className = path in pages ? path : "desk";
  document.querySelectorAll("nav a").forEach((link) =>
    link.dataset.page === (path === "order" ? "orders" : pages[path] ? path : "desk") ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current"));
  page = open(main, frame, new URLSearchParams(query ?? ""));
  page.onStatus?.(lastStatus);
  asking = false;
  update();
}

function listen(token) {
  const worker = new SharedWorker("/live.js");
  worker.port.onmessage = ({ data: { event, data } }) => {
    if (event === "connected") [connected, trouble] = [true, ""];
    else if (event === "lost") [connected, trouble] = [false, data];
    else if (event === "trouble") trouble = data;
    else if (event === "refused") {
      refused = true;
      showError(new Refused(REFUSED_TEXT));
    } else if (event === "status") {
      connected = true;
      lastStatus = JSON.parse(data);
      if (lastStatus !== null) trouble = "";
      page.onStatus?.(lastStatus);
    }
    if (event === "connected" || event === "committed") updateNow();
    drawVerdict();
  };
  worker.port.postMessage({ token, visible: !document.hidden });
  document.addEventListener("visibilitychange", () => {
    worker.port.postMessage({ visible: !document.hidden });
    if (!document.hidden) updateNow();
  });
  addEventListener("pagehide", () => worker.port.postMessage({ gone: true }));
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
}

function start() {
  const token = takeToken();
  document.getElementById("nav").append(...Object.entries(pages).filter(([, [title]]) => title !== null)
    .map(([path, [title]]) => h("a", { href: "#/" + path, "data-page": path }, title)));
  const clock = document.getElementById("clock"), tick = () => {
    const now = new Date();
    clock.textContent = now.toLocaleTimeString(undefined, { hourCycle: "h23" }) + " here · " + now.toISOString().slice(11, 19) + " UTC";
  };
  tick();
  setInterval(tick, 1000);
  addEventListener("hashchange", show);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // what stands behind '#' names a page
    main.focus();
  });
  refused = token === null;
  drawVerdict();
  show();
  listen(token);
}

start();
