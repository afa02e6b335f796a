// Draws /api-docs/openapi.json. Text becomes text nodes and never markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
let api;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  for (const child of children.flat()) {
    if (child != null) node.append(child);
  }
  return node;
}

function resolved(schema) {
  if (!schema || !schema.$ref) return schema || {};
  const path = schema.$ref.replace("#/", "").split("/");
  return path.reduce((at, name) => (at || {})[name], api) || {};
}

function kindOf(schema) {
  if (!schema) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const any = schema.oneOf || schema.anyOf;
  if (any) return any.map(kindOf).join(" or ");
  if (schema.allOf) return schema.allOf.map(kindOf).join(" and ");
  if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(", ");
  const types = [].concat(schema.type || "anything");
  return types.map((type) => {
    if (type === "array") return "list of " + kindOf(schema.items);
    if (type === "object" && schema.additionalProperties) {
      return "map of " + kindOf(schema.additionalProperties);
    }
    return schema.format && type !== "null" ? `${type} (${schema.format})` : type;
  }).join(" or ");
}

function bounds(schema) {
  const told = [];
  if (schema.minimum != null) told.push(`from ${schema.minimum}`);
  if (schema.maximum != null) told.push(`to ${schema.maximum}`);
  if (schema.minLength != null) told.push(`at least ${schema.minLength} characters`);
  if (schema.maxLength != null) told.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems != null) told.push(`at most ${schema.maxItems} items`);
  if (schema.default !== undefined) told.push(`default ${JSON.stringify(schema.default)}`);
  return told.length ? " " + told.join(", ") : "";
}

// All fields of a schema, those of the schemas that it is put together of included.
function fieldsOf(schema) {
  const it = resolved(schema);
  const parts = (it.allOf || []).flatMap(fieldsOf);
  const required = it.required || [];
  const own = Object.entries(it.properties || {}).map(([name, field]) =>
    ({ name, field, required: required.includes(name) }));
  return parts.concat(own);
}

// The schemas that a reader may want to open, one level down.
function inner(schema) {
  if (!schema) return [];
  if (schema.$ref) return [schema];
  const parts = [schema.items, schema.additionalProperties].concat(schema.oneOf || [], schema.anyOf || []);
  return parts.filter((part) => part && typeof part === "object").flatMap(inner);
}

function schemaView(schema, depth = 0) {
  const fields = fieldsOf(schema);
  if (!fields.length) {
    const parts = inner(schema).filter((part) => fieldsOf(part).length);
    if (parts.length && depth < 4) return el("div", {}, el("p", { class: "kind" }, kindOf(schema)),
      parts.map((part) => schemaView(part, depth + 1)));
    return el("p", { class: "kind" }, kindOf(schema) + bounds(resolved(schema)));
  }
  const rows = fields.map(({ name, field, required }) => {
    const it = resolved(field);
    const more = inner(field).filter((part) => fieldsOf(part).length);
    const opened = depth < 3 ? more.map((part) => {
      const details = el("details", {}, el("summary", {}, kindOf(part)));
      details.addEventListener("toggle", () => {
        if (details.children.length === 1) details.append(schemaView(part, depth + 1));
      });
      return details;
    }) : [];
    return el("tr", {},
      el("td", {}, el("code", { class: it.deprecated || field.deprecated ? "old" : "" }, name), required ? " *" : ""),
      el("td", {}, field.description || it.description || "", " ",
        el("span", { class: "kind" }, kindOf(field) + bounds(it)), opened));
  });
  return el("table", {}, el("tbody", {}, rows));
}

function contentView(content) {
  return Object.entries(content || {}).map(([type, media]) =>
    el("div", {}, el("code", {}, type), media.schema ? schemaView(media.schema) : null));
}

function operationView(method, path, operation) {
  const id = operation.operationId || method + path;
  const head = el("h3", {}, el("span", { class: "method " + method }, method.toUpperCase()),
    el("span", { class: "path" }, path));
  const section = el("section", { id }, head, el("p", {}, operation.summary || ""));
  if (operation.description) section.append(el("p", {}, operation.description));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    section.append(el("h4", {}, "Parameters"), el("table", {}, el("tbody", {}, parameters.map((p) =>
      el("tr", {}, el("td", {}, el("code", {}, p.name), p.required ? " *" : ""),
        el("td", {}, p.description || "", " ",
          el("span", { class: "kind" }, `${p.in}, ${kindOf(p.schema)}${bounds(resolved(p.schema))}`)))))));
  }
  if (operation.requestBody) {
    section.append(el("h4", {}, "Body"), contentView(operation.requestBody.content).reduce(
      (all, part) => (all.append(part), all), el("div")));
  }
  section.append(el("h4", {}, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses || {})) {
    const details = el("details", status < "300" ? { open: "" } : {},
      el("summary", {}, el("code", {}, status), " ", answer.description || ""));
    const isProblem = answer.content && answer.content["application/problem+json"];
    const draw = () => {
      if (details.children.length === 1) details.append(...contentView(answer.content));
    };
    if (status < "300") draw();
    else details.addEventListener("toggle", draw);
    if (!isProblem && !answer.content) details.classList.add("plain");
    section.append(details);
  }
  return section;
}

function draw() {
  const main = document.getElementById("document");
  const index = document.getElementById("index");
  main.replaceChildren(el("h1", {}, `${api.info.title} ${api.info.version}`),
    el("p", {}, api.info.description || ""));
  const byTag = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!byTag.has(tag)) byTag.set(tag, []);
      byTag.get(tag).push([method, path, item[method]]);
    }
  }
  for (const [tag, operations] of byTag) {
    index.append(el("h2", {}, tag));
    main.append(el("h2", {}, tag));
    for (const [method, path, operation] of operations) {
      const words = `${method} ${path} ${operation.summary || ""}`.toLowerCase();
      const link = el("a", { href: "#" + (operation.operationId || method + path), "data-words": words },
        el("span", { class: "method " + method }, method.toUpperCase()), path);
      index.append(link);
      const view = operationView(method, path, operation);
      view.dataset.words = words;
      main.append(view);
    }
  }
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const node of document.querySelectorAll("[data-words]")) {
      node.classList.toggle("hidden", !node.dataset.words.includes(wanted));
    }
  });
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("/api-docs/openapi.json")
  .then((answer) => {
    if (!answer.ok) throw new Error(`the document was answered with ${answer.status}`);
    return answer.json();
  })
  .then((document) => { api = document; draw(); })
  .catch((error) => { document.getElementById("state").textContent = String(error); });
