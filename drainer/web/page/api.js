// api.js: asks the server. The token comes with the address that `blotter web` has printed, behind
// '#', and is kept for the tab.
const TOKEN_KEY = "blotter-token";
const ANSWER_MS = 15000; // the server gives up PostgreSQL after 10 s, and says so

export class Refused extends Error {}
export const REFUSED_TEXT = "Open the address that `blotter web` has printed: it holds the token.";

// "#TOKEN" moves to the session's storage, and out of sight.
export function takeToken() {
  const given = /^#([\w.~-]{16,256})$/.exec(location.hash);
  if (given) {
    sessionStorage.setItem(TOKEN_KEY, given[1]);
    history.replaceState(null, "", "#/desk");
  }
  return sessionStorage.getItem(TOKEN_KEY);
}

export async function ask(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  let answer, body;
  try {
    answer = await fetch("/api/" + path + (query.size > 0 ? "?" + query : ""), { headers: { Authorization: "Bearer " + sessionStorage.getItem(TOKEN_KEY) }, signal: AbortSignal.timeout(ANSWER_MS) });
    body = await answer.json();
  } catch {
    throw new Error("blotter web does not answer");
  }
  if (answer.status === 401) throw new Refused(REFUSED_TEXT);
  if (!answer.ok) throw new Error(body.error);
  return body;
}
