"use strict";
// What a model says (names, examples, answers) is text that nobody vouches for: it is only ever set as text.
const byId = (id) => document.getElementById(id);
const base = location.pathname.replace(/\/*$/, "/");
const INTEGERS = new Set(["integer", "long"]);
const NUMBERS = new Set(["integer", "long", "float", "double"]);
const NESTED = new Set(["array", "object", "map", "any"]);
const MOST_SHOWN = 262144;
const MOST_ROWS = 500;
const MOST_BARS = 60;
const SVG = "http://www.w3.org/2000/svg";
let facts = null;
let uploaded = null;
let latest = 0;

function make(name, content, attributes = {}) {
  const made = document.createElement(name);
  set(made, attributes);
  for (const one of [content].flat()) if (one !== undefined && one !== null) made.append(one);
  return made;
}

function draw(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  set(made, attributes);
  if (text !== undefined) made.textContent = text;
  return made;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
}

// Integers that a double does not hold keep their digits.
function parse(text) {
  return JSON.parse(text, (key, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && context && /^-?\d+$/.test(context.source)
      ? BigInt(context.source) : value);
}

function written(value) {
  return typeof value === "bigint" ? String(value) : JSON.stringify(value, (key, one) =>
    typeof one === "bigint" ? JSON.rawJSON ? JSON.rawJSON(String(one)) : Number(one) : one);
}

async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const token = byId("token").value;
  // A header holds no more than bytes; a token that is none of them is refused like any other wrong one.
  if (token) headers.set("Authorization", "Bearer " + (/^[\x21-\x7e]+$/.test(token) ? token : "-"));
  return fetch(base + path, { ...options, headers, cache: "no-store", credentials: "same-origin" });
}

function failed(text) {
  byId("failure").textContent = text;
  byId("failure").hidden = !text;
}

function state(text, kind) {
  byId("state").textContent = text;
  byId("state").className = kind;
}

// ---- the table

function field(type, required, text, attributes) {
  if (type === "boolean" && required) {
    const box = make("input", null, { ...attributes, type: "checkbox" });
    box.checked = text === "true";
    return box;
  }
  if (type === "boolean") {
    const choice = make("select", ["", "true", "false"].map((one) => make("option", one, { value: one })), attributes);
    choice.value = text;
    return choice;
  }
  if (NESTED.has(type)) {
    const area = make("textarea", null, { ...attributes, rows: 1, spellcheck: "false" });
    area.value = text;
    return area;
  }
  const kind = NUMBERS.has(type) ? "number" : type === "datetime" ? "datetime-local" : "text";
  const input = make("input", null, { ...attributes, type: kind, autocomplete: "off", spellcheck: "false" });
  if (kind === "number") input.step = INTEGERS.has(type) ? "1" : "any";
  if (kind === "datetime-local") input.step = "0.001";
  input.value = text;
  // What the browser's own field cannot hold as it is, as a moment's microseconds, is kept as text.
  if (kind !== "text" && text && !input.value) {
    input.type = "text";
    input.value = text;
  }
  return input;
}

// A cell of the example as one types it.
function typed(column, cell) {
  if (cell === null || cell === undefined) return "";
  return column.type === "string" || column.type === "binary" || column.type === "datetime" ? JSON.parse(cell) : cell;
}

function addRow(values) {
  const body = byId("grid").querySelector("tbody");
  const row = make("tr", make("th", "", { scope: "row" }));
  facts.input.columns.forEach((column, place) =>
    row.append(make("td", field(column.type, column.required, values[place], {}))));
  const remove = make("button", "×", { type: "button" });
  remove.addEventListener("click", () => {
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    numberRows();
    (next ? next.querySelector("button") : byId("add")).focus();
  });
  row.append(make("td", remove));
  body.append(row);
}

function numberRows() {
  const rows = [...byId("grid").querySelectorAll("tbody tr")];
  rows.forEach((row, place) => {
    row.cells[0].textContent = place + 1;
    facts.input.columns.forEach((column, at) =>
      row.cells[at + 1].firstChild.setAttribute("aria-label", `${column.name}, row ${place + 1}`));
    row.lastChild.firstChild.setAttribute("aria-label", `Remove row ${place + 1}`);
  });
  byId("counted").textContent = rows.length === 1 ? "1 row" : `${rows.length} rows`;
  changed();
}

function buildGrid() {
  const heads = facts.input.columns.map((column) =>
    make("th", [column.name, make("small", column.type + (column.required ? "" : ", optional"))], { scope: "col" }));
  const nothing = () => make("td", null);
  const head = make("tr", [nothing(), ...heads, nothing()]);
  byId("grid").replaceChildren(make("table", [make("thead", head), make("tbody")]));
  const rows = facts.input.rows.length ? facts.input.rows : [[]];
  rows.forEach((row) => addRow(facts.input.columns.map((column, place) => typed(column, row[place]))));
  numberRows();
}

// A field as JSON text, digits as they were typed; null where it is empty and need not be filled.
function cell(input, column) {
  if (input.type === "checkbox") return String(input.checked);
  const text = input.value;
  input.removeAttribute("aria-invalid");
  if (input.validity && input.validity.badInput) throw wrong(input, column, "cannot be read");
  if (column.type === "string" || column.type === "binary") {
    return text === "" && !column.required ? "null" : JSON.stringify(text);
  }
  if (text.trim() === "") {
    if (column.required && !["float", "double", "datetime", "any"].includes(column.type)) throw wrong(input, column, "is empty");
    return "null";
  }
  if (column.type === "boolean") return text;
  if (column.type === "datetime") return JSON.stringify(text);
  const trimmed = text.trim();
  if (NUMBERS.has(column.type)) {
    if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(trimmed)) return trimmed;
    if (Number.isFinite(Number(trimmed))) return String(Number(trimmed));
    throw wrong(input, column, "is no number");
  }
  try {
    JSON.parse(trimmed);
    return trimmed;
  } catch {
    if (column.type === "any") return JSON.stringify(text);
    throw wrong(input, column, "is not JSON");
  }
}

function wrong(input, column, what) {
  const error = new Error(`${input.getAttribute("aria-label") || column.name} ${what}`);
  error.input = input;
  return error;
}

// A column that need not be there, and that nobody filled, is left out.
function tableBody() {
  const rows = [...byId("grid").querySelectorAll("tbody tr")].map((row) =>
    facts.input.columns.map((column, place) => cell(row.cells[place + 1].firstChild, column)));
  const sent = [...facts.input.columns.keys()].filter((place) =>
    facts.input.columns[place].required || rows.some((row) => row[place] !== "null"));
  const names = JSON.stringify(sent.map((place) => facts.input.columns[place].name));
  const data = rows.map((row) => `[${sent.map((place) => row[place]).join(", ")}]`).join(", ");
  return `{"dataframe_split": {"columns": ${names}, "data": [${data}]}${paramsText(", ")}}`;
}

// ---- parameters

function buildParams() {
  const params = facts.input.params;
  byId("params").hidden = params.length === 0;
  for (const [place, param] of params.entries()) {
    const input = field(param.type, false, param.default || "", { id: `param-${place}` });
    if (input.tagName === "INPUT") input.placeholder = param.default === null ? "none" : param.default;
    byId("params").append(make("label", [make("span", [param.name, " ", make("small", param.type)]), input]));
  }
}

// The params as a part of a JSON object, `"params": {…}`; those that are empty are left to the model.
function paramsText(before) {
  const found = [];
  for (const [place, param] of facts.input.params.entries()) {
    const input = byId(`param-${place}`);
    const simple = ["boolean", "string", "binary", "datetime"].includes(param.type) || NUMBERS.has(param.type);
    const text = cell(input, { name: param.name, type: simple ? param.type : "any", required: false });
    if (text !== "null") found.push(`${JSON.stringify(param.name)}: ${text}`);
  }
  return found.length ? `${before}"params": {${found.join(", ")}}` : "";
}

// Into a body as it was written, so that its digits stay; a body that has params already is left alone.
function withParams(text) {
  const params = facts.input.params.length ? paramsText("") : "";
  if (!params) return text;
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    return text;
  }
  const isObject = body !== null && typeof body === "object" && !Array.isArray(body);
  if (!isObject || Object.keys(body).length === 0 || "params" in body) return text;
  const isWrapped = ["dataframe_split", "dataframe_records", "instances", "inputs"].some((key) => key in body);
  return isWrapped ? text.replace("{", () => `{${params}, `) : text;
}

// ---- the request

function way() {
  return byId("way-table").checked ? "table" : "text";
}

function request() {
  if (way() === "table") return { type: "application/json", body: tableBody() };
  const type = byId("kind").value;
  if (uploaded) return { type, body: uploaded, file: uploaded.name };
  const text = byId("text").value;
  return { type, body: type === "application/json" ? withParams(text) : text };
}

// A word for a POSIX shell: everything between single quotes is itself.
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(asked) {
  const parts = ["curl -sS", quoted(location.origin + base + "invocations"), "-H", quoted(`Content-Type: ${asked.type}`)];
  if (byId("token").value) parts.push('-H "Authorization: Bearer $ENVBUILD_TOKEN"');
  parts.push(asked.file ? `--data-binary ${quoted("@" + asked.file)}` : `--data-raw ${quoted(asked.body)}`);
  return parts.join(" ");
}

function changed() {
  if (!facts) return;
  try {
    byId("curl").textContent = curl(request());
    byId("copy").disabled = false;
  } catch {
    byId("curl").textContent = "";
    byId("copy").disabled = true;
  }
}

function show(which) {
  byId(`way-${which}`).checked = true;
  byId("by-table").hidden = which !== "table";
  byId("by-text").hidden = which !== "text";
  changed();
}

async function predict() {
  const number = ++latest;
  failed("");
  let asked;
  try {
    asked = request();
  } catch (error) {
    if (error.input) {
      error.input.setAttribute("aria-invalid", "true");
      error.input.focus();
    }
    failed(error.message);
    return;
  }
  changed();
  byId("status").textContent = "…";
  byId("status").className = "";
  const began = performance.now();
  try {
    const answer = await ask("invocations", { method: "POST", headers: { "Content-Type": asked.type }, body: asked.body });
    const text = await answer.text();
    if (number !== latest) return;
    byId("status").textContent = `${answer.status} ${answer.statusText}`.trim() + ` · ${Math.round(performance.now() - began)} ms`;
    byId("status").className = answer.ok ? "good" : "bad";
    if (answer.ok) answered(text);
    else failed(reason(text, answer));
  } catch (error) {
    if (number !== latest) return;
    byId("status").textContent = "";
    failed(`no answer: ${error.message}`);
  }
}

function reason(text, answer) {
  if (answer.status === 401) byId("access").hidden = false;
  try {
    const told = JSON.parse(text);
    if (told && told.message !== undefined) return `${told.error_code}: ${told.message}`;
  } catch { /* not from us: as it is */ }
  return text || answer.statusText;
}

// ---- the answer

function answered(text) {
  byId("answer").hidden = false;
  byId("raw").textContent = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text;
  let body;
  try {
    body = parse(text);
  } catch {
    byId("table").replaceChildren();
    byId("plot").hidden = true;
    return;
  }
  const wrapped = body !== null && typeof body === "object" && "predictions" in body;
  const columns = columnsOf(wrapped ? body.predictions : body);
  byId("table").replaceChildren(...tableOf(columns));
  plot(columns);
}

function columnsOf(value) {
  if (Array.isArray(value)) {
    if (value.length && value.every((one) => Array.isArray(one))) {
      const width = Math.max(...value.map((one) => one.length));
      return [...Array(Math.min(width, 50)).keys()].map((at) => ({ name: String(at), values: value.map((row) => row[at]) }));
    }
    if (value.length && value.every((one) => one !== null && typeof one === "object")) {
      const names = [...new Set(value.flatMap((one) => Object.keys(one)))];
      return names.map((name) => ({ name, values: value.map((row) => (Object.hasOwn(row, name) ? row[name] : undefined)) }));
    }
    return [{ name: "prediction", values: value }];
  }
  if (value !== null && typeof value === "object") {
    return Object.entries(value).map(([name, one]) => ({ name, values: Array.isArray(one) ? one : [one] }));
  }
  return [{ name: "prediction", values: [value] }];
}

function isNumber(value) {
  return typeof value === "number" || typeof value === "bigint";
}

function said(value) {
  if (value === undefined) return "";
  const text = typeof value === "string" ? value : written(value);
  return text.length > 2000 ? `${text.slice(0, 2000)}…` : text;
}

function tableOf(columns) {
  const count = Math.max(0, ...columns.map((column) => column.values.length));
  const head = make("tr", [make("th", "row", { scope: "col" }), ...columns.map((one) => make("th", one.name, { scope: "col" }))]);
  const rows = [...Array(Math.min(count, MOST_ROWS)).keys()].map((at) =>
    make("tr", [
      make("th", String(at + 1), { scope: "row" }),
      ...columns.map((one) => make("td", said(one.values[at]), { class: isNumber(one.values[at]) ? "number" : null })),
    ]));
  const found = [make("table", [make("thead", head), make("tbody", rows)])];
  if (count > MOST_ROWS) found.push(make("p", `${count - MOST_ROWS} more rows are not shown.`, { class: "hint" }));
  return found;
}

function plot(columns) {
  const numeric = columns.filter((one) =>
    one.values.length && one.values.some(isNumber) && one.values.every((value) => value === null || isNumber(value))).slice(0, 4);
  byId("plot").hidden = numeric.length === 0;
  if (numeric.length === 0) return;
  const values = numeric.flatMap((one) => one.values.filter((value) => value !== null).map(Number));
  const low = values.reduce((one, other) => Math.min(one, other), 0);
  const high = values.reduce((one, other) => Math.max(one, other), low === 0 ? 0 : -Infinity);
  const count = Math.max(...numeric.map((one) => one.values.length));
  const [width, height, left, foot] = [480, 200, 56, 18];
  const span = high - low || 1;
  const y = (value) => 8 + (height - foot - 8) * (1 - (Number(value) - low) / span);
  const step = (width - left - 4) / count;
  const said = `${numeric.map((one) => one.name).join(", ")}: ${count} rows, from ${short(low)} to ${short(high)}`;
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said });
  for (const value of new Set([low, 0, high])) {
    if (value < low || value > high) continue;
    picture.append(draw("line", { x1: left, x2: width, y1: y(value), y2: y(value), class: "axis" }));
    picture.append(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  numeric.forEach((one, series) => {
    if (count <= MOST_BARS) {
      const bar = (step * 0.8) / numeric.length;
      one.values.forEach((value, at) => {
        if (value === null) return;
        const top = Math.min(y(value), y(0 < low ? low : 0));
        const tall = Math.max(1, Math.abs(y(value) - y(0 < low ? low : 0)));
        picture.append(draw("rect", { x: left + at * step + step * 0.1 + series * bar, y: top, width: bar, height: tall, class: `s${series}` }));
      });
    } else {
      const points = one.values.map((value, at) => (value === null ? null : `${(left + (at + 0.5) * step).toFixed(1)},${y(value).toFixed(1)}`));
      picture.append(draw("polyline", { points: points.filter((point) => point !== null).join(" "), class: `s${series}` }));
    }
  });
  picture.append(draw("text", { x: left, y: height - 3 }, "row 1"));
  picture.append(draw("text", { x: width, y: height - 3, "text-anchor": "end" }, `row ${count}`));
  const keys = numeric.map((one, series) => {
    const dot = draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" });
    dot.append(draw("rect", { width: 10, height: 10, class: `s${series}` }));
    return make("span", [dot, one.name], { class: "key" });
  });
  byId("plot").replaceChildren(picture, make("figcaption", keys));
}

function short(value) {
  return Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : Number(value.toPrecision(4)).toString();
}

// ---- the page

function reset() {
  uploaded = null;
  byId("file").textContent = "";
  byId("text").disabled = false;
  byId("text").value = facts.input.body || "";
  byId("kind").value = "application/json";
  if (facts.input.columns) buildGrid();
  show(facts.input.columns ? "table" : "text");
}

async function upload(file) {
  if (!file) return;
  const ending = file.name.toLowerCase().split(".").pop();
  const types = { csv: "text/csv", jsonl: "application/jsonl", ndjson: "application/jsonl" };
  byId("kind").value = types[ending] || "application/json";
  const isLong = file.size > MOST_SHOWN;
  uploaded = isLong ? file : null;
  byId("text").disabled = isLong;
  byId("text").value = isLong ? "" : await file.text();
  byId("file").textContent = `${file.name}, ${file.size} bytes` + (isLong ? ", sent as it is" : "");
  show("text");
  byId("predict").focus();
}

function describe() {
  const { model, environment } = facts;
  document.title = model.name;
  byId("name").textContent = model.name;
  byId("summary").textContent = [model.flavors.join(", "), model.mlflow && `mlflow ${model.mlflow}`, model.created]
    .filter(Boolean).join(" · ");
  const told = [["Created", model.created || "unknown"], ["Saved by", model.mlflow ? `mlflow ${model.mlflow}` : "unknown"]];
  if (environment) {
    told.unshift(["Python", environment.python]);
    told.push(["Lock", environment.lock_hash], ["Target", environment.target], ["Resolved as of", environment.as_of || "unknown"]);
    told.push(["Overrides", environment.overrides.length ? environment.overrides.join("\n") : "none"]);
    byId("packages-title").textContent = `${environment.packages.length} packages`;
    const rows = environment.packages.map((one) => make("tr", [make("td", one.name), make("td", one.version)]));
    const head = make("tr", [make("th", "package", { scope: "col" }), make("th", "version", { scope: "col" })]);
    byId("packages").replaceChildren(make("table", [make("thead", head), make("tbody", rows)]));
  }
  byId("facts").replaceChildren(...told.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  // A link carries no token.
  byId("api").hidden = byId("token").value !== "";
  for (const id of ["openapi", "swagger"]) byId(id).href = `${base}${id}.json`;
}

function begin() {
  const kinds = ["application/json", ...(facts.input.csv ? ["text/csv"] : []), ...(facts.input.csv ? ["application/jsonl"] : [])];
  byId("kind").replaceChildren(...kinds.map((one) => make("option", one, { value: one })));
  byId("ways").hidden = !facts.input.columns;
  describe();
  buildParams();
  reset();
  for (const id of ["ask", "shell", "environment"]) byId(id).hidden = false;
}

async function health() {
  try {
    const answer = await ask("ping");
    if (answer.ok) return state("ready", "good");
    state(reason(await answer.text(), answer), "bad");
  } catch (error) {
    state(`no answer: ${error.message}`, "bad");
  }
  setTimeout(health, 2000);
}

async function open() {
  const answer = await ask("facts.json");
  if (answer.status === 401) {
    byId("access").hidden = false;
    byId("token").focus();
    state(byId("token").value ? "this is not the token" : "a token is needed", "bad");
    return;
  }
  if (!answer.ok) return state(reason(await answer.text(), answer), "bad");
  facts = await answer.json();
  begin();
  health();
}

async function copy() {
  const text = byId("curl").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS, and not on this machine, there is no clipboard but this one.
    const range = document.createRange();
    range.selectNodeContents(byId("curl"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }
  byId("copied").textContent = "copied";
}

byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  if (facts) changed();
  else open();
});
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
byId("ask").addEventListener("input", changed);
byId("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    predict();
  }
});
for (const which of ["table", "text"]) byId(`way-${which}`).addEventListener("change", () => show(which));
byId("reset").addEventListener("click", reset);
byId("copy").addEventListener("click", copy);
byId("upload").addEventListener("change", async (event) => {
  await upload(event.target.files[0]);
  event.target.value = "";
});
byId("text").addEventListener("input", () => { byId("file").textContent = ""; });
byId("add").addEventListener("click", () => {
  const last = byId("grid").querySelector("tbody tr:last-child");
  const columns = facts.input.columns;
  const values = columns.map((column, place) => {
    const input = last && last.cells[place + 1].firstChild;
    if (!input) return "";
    return input.type === "checkbox" ? String(input.checked) : input.value;
  });
  addRow(values);
  numberRows();
  byId("grid").querySelector("tbody tr:last-child").cells[1].firstChild.focus();
});

open();
