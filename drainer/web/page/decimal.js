// decimal.js: decimals as the text that the server sent. No number of money is ever a double.

// Sign, whole digits and fraction of "-0012.340"; null if it is no decimal.
function parts(text) {
  const found = /^([+-]?)(\d+)(?:\.(\d+))?$/.exec(text ?? "");
  return found && { negative: found[1] === "-", whole: found[2].replace(/^0+(?=\d)/, ""), fraction: found[3] ?? "" };
}

export function isNegative(text) {
  const p = parts(text);
  return p !== null && p.negative && !isZero(text);
}

export function isZero(text) {
  return /^[+-]?0*(\.0*)?$/.test(text ?? "");
}

// 1234567.890 as 1,234,567.890: every digit that was sent.
export function group(text) {
  const p = parts(text);
  if (p === null) return text ?? "";
  const whole = p.whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return (p.negative ? "−" : "") + whole + (p.fraction === "" ? "" : "." + p.fraction);
}

// Rounded half away from zero to so many places, by whole numbers of any size.
export function round(text, places) {
  const p = parts(text);
  if (p === null) return text ?? "";
  const digits = BigInt(p.whole + p.fraction.slice(0, places).padEnd(places, "0"));
  const up = (p.fraction[places] ?? "0") >= "5" ? 1n : 0n;
  const all = (digits + up).toString().padStart(places + 1, "0");
  const rounded = places === 0 ? all : all.slice(0, -places) + "." + all.slice(-places);
  return (p.negative && !isZero(rounded) ? "-" : "") + rounded;
}

// With a sign, for gains and losses.
export function signed(text) {
  if (text === null || text === undefined) return "";
  return isNegative(text) || isZero(text) ? group(text) : "+" + group(text);
}

// The order of two decimals, for sorting columns.
export function compare(a, b) {
  const x = parts(a), y = parts(b);
  if (x === null || y === null) return (x === null) - (y === null);
  const scale = Math.max(x.fraction.length, y.fraction.length);
  const value = (p) => BigInt((p.negative ? "-" : "") + p.whole + p.fraction.padEnd(scale, "0"));
  const u = value(x), v = value(y);
  return u < v ? -1 : u > v ? 1 : 0;
}
