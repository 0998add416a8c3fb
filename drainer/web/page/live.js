// live.js: a shared worker that holds one stream of events for all pages of a browser. It is closed
// while every page is hidden, and connects again by itself, at most once a second. The server tells
// the status every second, so a stream that says nothing for SILENT_MS is dead: the way to the server
// was cut, this machine slept, or the server hangs.
const SILENT_MS = 5000;
const ports = new Map(); // port -> is its page visible
let token = null;
let abort = null;
let heard = 0; // when something came last
let last = "";

function tell(message) {
  for (const port of ports.keys()) port.postMessage(message);
}

function wanted() {
  return token !== null && [...ports.values()].some(Boolean);
}

function take(block) {
  const event = /^event: (.*)$/m.exec(block)?.[1];
  const data = /^data: (.*)$/m.exec(block)?.[1];
  if (event !== undefined) {
    if (event === "committed") last = data;
    tell({ event, data });
  }
}

async function read() {
  abort = new AbortController();
  heard = Date.now();
  try {
    const answer = await fetch("/api/live", { headers: { Authorization: "Bearer " + token }, signal: abort.signal });
    if (answer.status === 401) {
      token = null;
      tell({ event: "refused" });
      return;
    }
    if (!answer.ok) throw new Error((await answer.json()).error);
    tell({ event: "connected" });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("blotter web has ended");
      heard = Date.now();
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      blocks.forEach(take);
    }
  } catch (error) {
    if (wanted()) tell({ event: "lost", data: String(error.message ?? error) });
  } finally {
    abort = null;
    if (wanted()) setTimeout(turn, 1000);
  }
}

function turn() {
  if (wanted() && abort === null) read();
  else if (!wanted() && abort !== null) abort.abort();
}

setInterval(() => {
  if (abort !== null && Date.now() - heard > SILENT_MS) abort.abort(new Error("blotter web says nothing"));
}, 1000);

onconnect = ({ ports: [port] }) => {
  ports.set(port, true);
  port.onmessage = ({ data }) => {
    if (data.token !== undefined) token = data.token;
    if (data.visible !== undefined) ports.set(port, data.visible);
    if (data.gone) ports.delete(port);
    turn();
  };
  if (last !== "") port.postMessage({ event: "committed", data: last });
};
