// Draws /api-docs/openapi.json: all of it, at once, so that the browser's own search finds every word.
// Text becomes text nodes and never markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
// Schemas that hold each other end somewhere.
const DEEPEST = 6;
let api;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== ""));
  return node;
}

// `Words` of code, and paragraphs: all that descriptions have of Markdown.
const spans = (text) => text.split("`").map((span, at) => (at % 2 ? el("code", {}, span) : span));

function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((part) => el("p", {}, spans(part)));
}

// ---- What a schema says

function resolved(schema) {
  if (!schema || !schema.$ref) return schema || {};
  const path = schema.$ref.replace("#/", "").split("/");
  return resolved(path.reduce((at, name) => (at || {})[name], api));
}

const isNull = (schema) => schema.type === "null";
const choices = (schema) => schema.oneOf || schema.anyOf || [];

// Its type in words: a schema that has fields goes by its name.
function kindOf(schema) {
  if (!schema || schema === true) return "anything";
  if (schema.$ref) return fieldsOf(schema).length ? schema.$ref.split("/").pop() : kindOf(resolved(schema));
  const any = choices(schema);
  if (any.length) {
    const kinds = any.filter((part) => !isNull(part)).map(kindOf);
    return [...new Set(kinds)].join(" or ") + (any.some(isNull) ? " or null" : "");
  }
  if (schema.allOf && fieldsOf(schema).length) return "object";
  if (schema.allOf) return schema.allOf.map(kindOf).join(" and ");
  if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const types = [].concat(schema.type || "anything");
  return types.map((type) => {
    if (type === "array") return "list of " + kindOf(schema.items);
    if (type === "object" && schema.additionalProperties) {
      return "map of " + kindOf(schema.additionalProperties);
    }
    return schema.format && type !== "null" ? `${type} (${schema.format})` : type;
  }).join(" or ");
}

function boundsOf(schema) {
  const told = [];
  const tell = (value, words) => value != null && told.push(words(value));
  if (schema.minimum != null && schema.maximum != null) {
    told.push(`${schema.minimum.toLocaleString("en")} to ${schema.maximum.toLocaleString("en")}`);
  } else {
    tell(schema.minimum, (least) => `at least ${least}`);
    tell(schema.maximum, (most) => `at most ${most}`);
  }
  tell(schema.exclusiveMinimum, (least) => `above ${least}`);
  tell(schema.exclusiveMaximum, (most) => `below ${most}`);
  tell(schema.minLength, (least) => `at least ${least} characters`);
  tell(schema.maxLength, (most) => `at most ${most} characters`);
  tell(schema.minItems, (least) => `at least ${least} items`);
  tell(schema.maxItems, (most) => `at most ${most} items`);
  if (schema.default !== undefined) told.push(`default ${JSON.stringify(schema.default)}`);
  return told.join(", ");
}

// All fields of a schema, those of the schemas that it is put together of included; of one that need not be there none is
// required.
function fieldsOf(schema) {
  const it = resolved(schema);
  const required = it.required || [];
  const own = Object.entries(it.properties || {}).map(([name, field]) =>
    ({ name, field, required: required.includes(name) }));
  const parts = (it.allOf || []).flatMap((part) => {
    const fields = fieldsOf(part);
    return fields.length ? fields
      : choices(resolved(part)).flatMap(fieldsOf).map((field) => ({ ...field, required: false }));
  });
  const last = ({ required }) => (required ? 0 : 1);
  return own.concat(parts).sort((a, b) => last(a) - last(b));
}

// The schemas with fields that a value of this one is, or holds.
function holding(schema) {
  if (!schema || typeof schema !== "object") return [];
  if (fieldsOf(schema).length) return [schema];
  const it = resolved(schema);
  return [it.items, it.additionalProperties].concat(choices(it), it.allOf || []).flatMap(holding);
}

// ---- Examples

const exampleOf = (field) => [field, resolved(field), ...choices(field).map(resolved)]
  .map(({ example }) => example).find((example) => example != null);

// A value that fits; of a body only what must be there, or what there is an example of.
function sample(schema, isBody, depth = 0) {
  const it = resolved(schema);
  const told = [schema && schema.example, it.example, ...[].concat(it.examples || []), it.const, it.default]
    .find((value) => value != null);
  if (told !== undefined) return told;
  if (it.enum) return it.enum[0];
  const fields = fieldsOf(it);
  if (fields.length) {
    if (depth > DEEPEST) return {};
    const wanted = fields.filter(({ field, required }) =>
      !isBody || required || exampleOf(field) != null);
    const shown = wanted.length ? wanted : fields.slice(0, 2);
    return Object.fromEntries(shown.map(({ name, field }) => [name, sample(field, isBody, depth + 1)]));
  }
  const choice = choices(it).find((part) => !isNull(part));
  if (choice) return sample(choice, isBody, depth + 1);
  const type = [].concat(it.type || [])[0];
  if (type === "array") return depth > DEEPEST ? [] : [sample(it.items, isBody, depth + 1)];
  if (type === "object") return it.additionalProperties ? { name: sample(it.additionalProperties, isBody, depth + 1) } : {};
  if (type === "integer" || type === "number") return Math.max(it.minimum ?? 1, 1);
  if (type === "boolean") return false;
  if (it.format === "date-time") return "2026-01-31T08:00:00Z";
  if (it.format === "password") return "correct horse battery";
  return type === "string" || type === undefined ? "…" : null;
}

function answerSample(type, media) {
  const told = media.example ?? Object.values(media.examples || {})[0]?.value;
  const value = told ?? (/json$/.test(type) && media.schema ? sample(media.schema) : undefined);
  if (value === undefined) return null;
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// A value in a path: one that was told, or a word that says what belongs there.
function placeholder(parameter) {
  const told = parameter.example ?? resolved(parameter.schema).example;
  return encodeURI(String(told ?? parameter.name.toUpperCase()));
}

function commandLine(method, path, operation) {
  const parameters = operation.parameters || [];
  const filled = path.replace(/\{\*?([^}]+)\}/g, (whole, name) => {
    const found = parameters.find((parameter) => parameter.in === "path" && parameter.name === name);
    return found ? placeholder(found) : name.toUpperCase();
  });
  const query = parameters.filter((parameter) => parameter.in === "query" && parameter.required)
    .map((parameter) => `${parameter.name}=${placeholder(parameter)}`).join("&");
  const url = location.origin + filled + (query && "?" + query);
  const words = [method === "get" ? "curl -s" : `curl -s -X ${method.toUpperCase()}`];
  words[0] += " " + quoted(url);
  if (!isOpen(operation)) words.push('-H "Authorization: Bearer $TOKEN"');
  const [type, media] = Object.entries(operation.requestBody?.content || {})[0] || [];
  if (type && media.schema) {
    words.push(`-H 'Content-Type: ${type}'`, "-d " + quoted(JSON.stringify(sample(media.schema, true), null, 2)));
  }
  return words.join(" \\\n  ");
}

// ---- The parts of an operation

function isOpen(operation) {
  const needed = operation.security || api.security || [];
  return !needed.length || needed.some((way) => !Object.keys(way).length);
}

function codeBlock(title, text) {
  const head = el("div", { class: "code-head" }, el("span", {}, title));
  // Only pages that came by TLS or from this machine have it.
  if (navigator.clipboard) {
    const button = el("button", { type: "button" }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    head.append(button);
  }
  return el("figure", { class: "example" }, head, el("pre", { tabindex: "0", "aria-label": title }, el("code", {}, text)));
}

function fieldView({ name, field, required, where }, told) {
  const it = resolved(field);
  const bounds = boundsOf({ ...it, ...field });
  const isOld = it.deprecated || field.deprecated;
  const example = exampleOf(field);
  const view = el("li", {},
    el("code", { class: "name" + (isOld ? " old" : "") }, name), " ",
    el("span", { class: "kind" }, kindOf(field), bounds && `, ${bounds}`), " ",
    where && where !== "query" ? el("span", { class: "kind" }, ` in the ${where} `) : null,
    required && !told.isAnswer ? el("span", { class: "required" }, "required") : null,
    isOld ? el("span", { class: "kind" }, " deprecated") : null,
    example != null && !told.isAnswer ? el("span", { class: "kind" }, " for example ", el("code", {}, JSON.stringify(example))) : null,
    prose(field.description || choices(field).find((part) => part.description)?.description || it.description));
  for (const part of holding(field)) {
    // One that holds itself is told of further up.
    if (told.above.length < DEEPEST && !told.above.includes(resolved(part))) view.append(partView(part, told));
  }
  return view;
}

// `told` says what the fields are of: an answer has what it has, and `above` are the schemas around them.
function fieldList(fields, told = { above: [] }) {
  return el("ul", { class: "fields" }, fields.map((field) => fieldView(field, told)));
}

function partView(part, told, isOpen = false) {
  return el("details", { class: "schema", open: isOpen ? "" : null },
    el("summary", {}, "Fields", part.$ref ? [" of ", el("code", {}, kindOf(part))] : ""),
    fieldList(fieldsOf(part), { ...told, above: [...told.above, resolved(part)] }));
}

function schemaView(schema, told) {
  const fields = fieldsOf(schema);
  if (fields.length) return fieldList(fields, { ...told, above: [resolved(schema)] });
  const bounds = boundsOf(resolved(schema));
  return [el("p", { class: "kind" }, kindOf(schema), bounds && `, ${bounds}`),
    holding(schema).map((part) => partView(part, told, true))];
}

function contentView(content, isAnswer) {
  return Object.entries(content || {}).map(([type, media]) =>
    [el("p", { class: "media" }, el("code", {}, type)),
      media.schema ? schemaView(media.schema, { above: [], isAnswer }) : null]);
}

function answerView([status, answer]) {
  const headers = Object.entries(answer.headers || {}).map(([name, header]) =>
    ({ name, field: { ...resolved(header.schema), description: header.description } }));
  return el("div", { class: "answer" },
    el("div", { class: "answer-head" }, el("code", { class: "status s" + status[0] }, status),
      el("div", {}, prose(answer.description))),
    contentView(answer.content, true),
    headers.length ? [el("p", { class: "media" }, "Headers"), fieldList(headers)] : null);
}

// Refusals all have one form: a row each.
function refusalView([status, answer]) {
  const headers = Object.keys(answer.headers || {});
  return el("li", {}, el("code", { class: "status s" + status[0] }, status),
    el("div", {}, prose((answer.description || "").replace(/\. (?=`)/g, ".\n\n")),
      headers.length ? el("p", { class: "kind" }, `with ${headers.join(", ")}`) : null));
}

function operationBody(method, path, operation) {
  const told = el("div", { class: "told" });
  const part = (title, ...content) => told.append(el("h4", {}, title), ...content.flat(Infinity).filter(Boolean));
  told.append(...prose(operation.description));
  told.append(el("p", { class: "kind" }, isOpen(operation) ? "Open to everybody." :
    el("a", { href: "#authentication" }, "Needs a token, a key or a session.")));
  const parameters = (operation.parameters || []).map((parameter) => ({
    name: parameter.name, required: parameter.required, where: parameter.in,
    field: { ...parameter.schema, description: parameter.description, deprecated: parameter.deprecated,
      example: parameter.example ?? parameter.schema?.example },
  }));
  if (parameters.length) part("Parameters", fieldList(parameters));
  if (operation.requestBody) part("Body", contentView(operation.requestBody.content, false));
  const answers = Object.entries(operation.responses || {}).sort(([a], [b]) => a.localeCompare(b));
  const isRefusal = ([, answer]) => answer.content && Object.keys(answer.content).every((type) => type.includes("problem"));
  part("Answers", answers.filter((answer) => !isRefusal(answer)).map(answerView));
  const refusals = answers.filter(isRefusal);
  if (refusals.length) {
    told.append(el("details", { class: "schema" },
      el("summary", {}, `Refusals (${refusals.map(([status]) => status).join(", ")})`),
      el("p", {}, el("a", { href: "#problems" }, "How a refusal looks")),
      el("ul", { class: "refusals" }, refusals.map(refusalView))));
  }
  const examples = el("div", { class: "examples" }, codeBlock("Request", commandLine(method, path, operation)));
  for (const [status, answer] of answers.filter((answer) => !isRefusal(answer))) {
    for (const [type, media] of Object.entries(answer.content || {})) {
      const text = answerSample(type, media);
      if (text) examples.append(codeBlock(`Answer ${status}`, text));
    }
  }
  return el("div", { class: "operation-body" }, told, examples);
}

const badge = (method) => el("span", { class: "method " + method }, method.toUpperCase());

// A path may be broken behind each slash.
const broken = (path) => path.split(/(?<=\/)/).flatMap((part) => [part, el("wbr")]);

const idOf = (method, path, operation) => operation.operationId || `${method} ${path}`;

function operationView(method, path, operation) {
  const id = idOf(method, path, operation);
  const summary = el("summary", {}, badge(method), el("code", { class: "path" }, broken(path)),
    el("span", { class: "summary" }, spans(operation.summary || "")));
  const view = el("details", { class: "operation", id }, summary, operationBody(method, path, operation));
  // The address follows, so that it can be passed on.
  summary.addEventListener("click", () => {
    if (!view.open) history.replaceState(null, "", "#" + encodeURIComponent(id));
  });
  view.addEventListener("toggle", mark);
  return view;
}

// ---- What stands before the operations

function authenticationView() {
  const schemes = Object.entries(api.components?.securitySchemes || {}).map(([name, scheme]) => {
    const how = scheme.type === "http" ? `Authorization: ${scheme.scheme === "bearer" ? "Bearer" : scheme.scheme} …`
      : `${scheme.in}: ${scheme.name}`;
    return el("li", {}, el("code", { class: "name" }, how), " ", el("span", { class: "kind" }, name), prose(scheme.description));
  });
  const section = el("section", { id: "authentication" }, el("h2", {}, "Getting in"), el("ul", { class: "fields" }, schemes));
  const login = Object.entries(api.paths).find(([, item]) => item.post?.operationId === "login");
  if (login) {
    section.append(codeBlock("A token, and what it is for",
      `TOKEN=$(${commandLine("post", login[0], login[1].post)} | jq -r .token)\n` +
      `curl -s ${quoted(location.origin + "/api/tasks")} -H "Authorization: Bearer $TOKEN"`));
  }
  return section;
}

function problemsView() {
  const schema = { $ref: "#/components/schemas/Problem" };
  if (!fieldsOf(schema).length) return null;
  return el("section", { id: "problems" }, el("h2", {}, "Problems"),
    el("p", {}, "What can't be done is answered with ", el("code", {}, "application/problem+json"),
      " and a status from 400 on. ", el("code", {}, "code"), " never changes; the other words are for people."),
    partView(schema, { above: [], isAnswer: true }));
}

function byTag() {
  const tags = new Map((api.tags || []).map(({ name }) => [name, []]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const operation = { ...item[method], parameters: [...(item.parameters || []), ...(item[method].parameters || [])] };
      const tag = (operation.tags || ["other"])[0];
      if (!tags.has(tag)) tags.set(tag, []);
      tags.get(tag).push([method, path, operation]);
    }
  }
  return tags;
}

// ---- Finding, and going there

const all = (selector) => [...document.querySelectorAll(selector)];

function filter() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const node of all(".operation")) {
    const isShown = words.every((word) => node.dataset.words.includes(word));
    node.hidden = !isShown;
    document.getElementById("to " + node.id).hidden = !isShown;
    shown += isShown;
  }
  for (const group of all(".group")) group.hidden = ![...group.querySelectorAll("[data-entry]")].some((node) => !node.hidden);
  for (const node of all("#document > header, #authentication, #problems")) node.hidden = words.length > 0;
  document.getElementById("found").textContent = words.length ? `${shown} of ${all(".operation").length}` : "";
}

// The contents say which are open.
function mark(event) {
  const link = document.getElementById("to " + event.target.id);
  if (event.target.open) link?.setAttribute("aria-current", "true");
  else link?.removeAttribute("aria-current");
}

function goTo(id) {
  const node = document.getElementById(id);
  if (!node) return;
  if (node.hidden || node.closest("[hidden]")) {
    document.getElementById("filter").value = "";
    filter();
  }
  if (node.matches("details")) node.open = true;
  node.scrollIntoView();
  node.querySelector("summary")?.focus({ preventScroll: true });
}

const wantedId = () => {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
};

function keys(event) {
  const field = document.getElementById("filter");
  const isTyping = event.target.closest?.("input, textarea");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "Escape" && event.target === field) {
    field.value = "";
    filter();
  }
}

function draw() {
  const main = document.getElementById("document");
  const index = document.getElementById("index");
  const start = [authenticationView(), problemsView()].filter(Boolean);
  main.replaceChildren(el("header", {},
    el("h1", {}, api.info.title, " ", el("small", {}, api.info.version)),
    prose(api.info.description),
    el("p", {}, "The same for programs: ", el("a", { href: "/api-docs/openapi.json" }, `OpenAPI ${api.openapi}`), ".")), ...start);
  index.replaceChildren(el("ul", {}, start.map((section) =>
    el("li", {}, el("a", { href: "#" + section.id }, section.querySelector("h2").textContent)))));
  for (const [tag, operations] of byTag()) {
    if (!operations.length) continue;
    const entries = el("ul", {});
    const group = el("section", { class: "group" }, el("h2", {}, tag),
      prose(api.tags?.find(({ name }) => name === tag)?.description));
    for (const [method, path, operation] of operations) {
      const view = operationView(method, path, operation);
      const names = [...view.querySelectorAll(".name")].map((name) => name.textContent);
      view.dataset.words = [method, path, view.id, tag, operation.summary, operation.description, ...names].join(" ").toLowerCase();
      view.dataset.entry = "";
      group.append(view);
      const link = el("a", { href: "#" + encodeURIComponent(view.id), title: operation.summary }, badge(method), el("span", {}, broken(path)));
      // Also when the address is that already.
      link.addEventListener("click", () => goTo(view.id));
      entries.append(el("li", { id: "to " + view.id, "data-entry": "" }, link));
    }
    main.append(group);
    index.append(el("div", { class: "group" }, el("h2", {}, tag), entries));
  }
  document.getElementById("filter").addEventListener("input", filter);
  document.addEventListener("keydown", keys);
  addEventListener("hashchange", () => goTo(wantedId()));
  filter();
  goTo(wantedId());
}

fetch("/api-docs/openapi.json")
  .then((answer) => {
    if (!answer.ok) throw new Error(`the document was answered with ${answer.status}`);
    return answer.json();
  })
  .then((document) => { api = document; draw(); })
  .catch((error) => { document.getElementById("state").textContent = String(error); });
