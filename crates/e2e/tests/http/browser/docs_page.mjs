// Opens a master's page of the interface in a real browser, and says what is wrong with it: browser.rs runs this.
//
// Given by the environment: MASTER, where it listens; TOKEN, somebody's who may submit; BROWSER, what scripts/browser-up
// made; PICTURES, a folder for screenshots, for people who want to look (may be absent).
// Each failure is a line of standard error; the last line of standard output counts what was checked.

import { createRequire } from "node:module";
import { join } from "node:path";

const { MASTER, TOKEN, BROWSER, PICTURES } = process.env;
const { chromium } = createRequire(join(BROWSER, "package.json"))("playwright-core");

// Longer than anything takes on a slow, shared machine.
const PATIENCE_MS = 60_000;
// WCAG 2.2, 1.4.3, level AA for text of any size.
const LEAST_CONTRAST = 4.5;
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 360, height: 740 };
const METHODS = ["get", "post", "put", "patch", "delete"];

const origin = `http://${MASTER}`;
const page_url = `${origin}/docs`;
let checks = 0;
let failures = 0;

function check(what, holds, detail = "") {
  checks += 1;
  if (holds) return;
  failures += 1;
  const shown = typeof detail === "string" ? detail : JSON.stringify(detail);
  console.error(`expected ${what}${shown && `: ${shown}`}`);
}

const none = (what, list) => check(what, list.length === 0, list.slice(0, 5));

// A page whose browser reaches the master and nothing else, and which notes down whatever goes wrong in it.
async function open(browser, { url = page_url, faults = true, document: other, ...options } = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, serviceWorkers: "block", ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const seen = { foreign: [], failed: [], errors: [] };
  await context.route("**/*", (route) => {
    const asked = new URL(route.request().url());
    if (asked.origin !== origin) {
      seen.foreign.push(asked.href);
      return route.abort();
    }
    if (other && asked.pathname === "/api-docs/openapi.json") return route.fulfill(other);
    return route.continue();
  });
  await context.routeWebSocket(/.*/, (socket) => { seen.foreign.push(socket.url()); });
  const page = await context.newPage();
  page.on("console", (line) => { if (["error", "warning"].includes(line.type())) seen.errors.push(line.text()); });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("dialog", (dialog) => { seen.errors.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
  page.on("requestfailed", (request) => seen.failed.push(`${request.url()} ${request.failure()?.errorText}`));
  page.on("response", (response) => { if (response.status() >= 400) seen.failed.push(`${response.url()} ${response.status()}`); });
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  const response = await page.goto(url, { waitUntil: "networkidle" });
  const close = async (what) => {
    none(`${what}: no request to elsewhere`, seen.foreign);
    none(`${what}: no violation of the policy`, await page.evaluate(() => window.violations ?? []).catch(() => []));
    if (faults) {
      none(`${what}: no request that fails`, seen.failed);
      none(`${what}: nothing wrong on the console`, seen.errors);
    }
    await context.close();
  };
  return { page, response, close };
}

const picture = async (page, name, fullPage = false) => {
  if (PICTURES) await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage });
};

const drawn = (page) => page.locator(".operation").first().waitFor();
const openAll = (page) => page.evaluate(() => document.querySelectorAll("details").forEach((node) => { node.open = true; }));
const at = (page, id) => page.locator(`[id="${id}"]`);
const isOpen = (page, id) => at(page, id).evaluate((node) => node.open);
const shownIds = (page) => page.locator(".operation:visible").evaluateAll((nodes) => nodes.map((node) => node.id));

// Polls: what a click or an address sets off comes a moment later.
async function eventually(what, probe) {
  const deadline = Date.now() + PATIENCE_MS;
  let last;
  do {
    last = await probe();
    if (last === true) break;
    await new Promise((done) => setTimeout(done, 25));
  } while (Date.now() < deadline);
  check(what, last === true, last);
}

// What doesn't fit into the width, but for what scrolls by itself.
const tooWide = () => {
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter((node) => {
    const box = node.getBoundingClientRect();
    return box.width && box.right > width + 1 && !node.closest("pre");
  });
  const found = wide.map((node) => `${node.tagName}.${node.className} ${node.textContent.slice(0, 40)}`);
  const scrolls = document.documentElement.scrollWidth - width;
  return scrolls > 0 ? [`scrolls by ${scrolls} px`, ...found] : found;
};

// The contrast of every text that is shown with what is behind it, lowest first; as WCAG 2.2 computes it.
const contrasts = () => {
  // A canvas understands every way to write a colour.
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, at) => value * a + under[at] * (1 - a));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const canvas = rgba(getComputedStyle(document.documentElement).backgroundColor)[3] ? document.documentElement : document.body;
  const ground = over(rgba(getComputedStyle(canvas).backgroundColor), [255, 255, 255]);
  const behind = (node) => {
    const line = [];
    for (let at = node; at; at = at.parentElement) line.unshift(rgba(getComputedStyle(at).backgroundColor));
    return line.reduce((under, colour) => over(colour, under), ground);
  };
  const found = [];
  const ratio = (colour, node) => {
    const under = behind(node);
    const [low, high] = [luminance(over(rgba(colour), under)), luminance(under)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    found.push([ratio(getComputedStyle(node).color, node), `${node.tagName}.${node.className} ${text.data.slice(0, 40)}`]);
  }
  for (const field of document.querySelectorAll("input")) {
    found.push([ratio(getComputedStyle(field, "::placeholder").color, field), "placeholder"]);
  }
  found.sort(([a], [b]) => a - b);
  return { ground: luminance(ground), count: found.length, found: found.slice(0, 5) };
};

const api = await (await fetch(`${origin}/api-docs/openapi.json`)).json();
const operations = Object.entries(api.paths).flatMap(([path, item]) =>
  METHODS.filter((method) => item[method]).map((method) => ({ method, path, id: item[method].operationId, ...item[method] })));
const ids = operations.map(({ id }) => id).sort();
// The names of all fields of a schema, and of those in it.
function fieldsWithin(schema, seen = new Set()) {
  if (!schema || typeof schema !== "object" || seen.has(schema)) return new Set();
  seen.add(schema);
  const target = schema.$ref && api.components.schemas[schema.$ref.split("/").pop()];
  const properties = schema.properties ?? {};
  const parts = [target, schema.items, schema.additionalProperties, ...Object.values(properties),
    ...(schema.oneOf ?? []), ...(schema.anyOf ?? []), ...(schema.allOf ?? [])];
  return new Set([...Object.keys(properties), ...parts.flatMap((part) => [...fieldsWithin(part, seen)])]);
}

// As the page shows it: marks of code and breaks of lines are gone.
const plain = (text = "") => text.replaceAll("`", "").replace(/\s+/g, " ").trim();
const same = (a, b) => JSON.stringify([...a].sort()) === JSON.stringify([...b].sort());

const browser = await chromium.launch({
  executablePath: join(BROWSER, "chromium"),
  timeout: PATIENCE_MS,
  // Whatever the checks of requests may not see can't get anywhere either.
  args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
});

const stories = {
  async "everything in the document is on the page"() {
    const { page, response, close } = await open(browser);
    await drawn(page);
    const policy = response.headers()["content-security-policy"] ?? "";
    check("a strict policy", policy.includes("default-src 'none'") && !policy.includes("unsafe"), policy);
    check("the operations of the document, each once", same(await shownIds(page), ids), await shownIds(page));
    await picture(page, "desktop");
    await openAll(page);
    const told = Object.fromEntries(await page.locator(".operation").evaluateAll((nodes) => nodes.map((node) => [node.id, {
      method: node.querySelector("summary .method").innerText,
      path: node.querySelector("summary .path").innerText,
      height: node.querySelector("summary").getBoundingClientRect().height,
      text: node.innerText,
      names: [...node.querySelectorAll(".name")].map((name) => name.innerText),
      link: document.querySelector(`#contents a[href="#${CSS.escape(node.id)}"]`)?.innerText,
    }])));
    for (const { id, method, path, parameters = [], requestBody, responses, summary } of operations) {
      const shown = told[id];
      if (!shown) continue;
      check(`${id} to be readable`, shown.method === method.toUpperCase() && shown.path === path && shown.height >= 24, shown);
      check(`the summary of ${id}`, shown.text.replace(/\s+/g, " ").includes(plain(summary)), summary);
      check(`${id} in the contents`, shown.link?.includes(path), shown.link);
      none(`every parameter of ${id}`, parameters.map(({ name }) => name).filter((name) => !shown.names.includes(name)));
      none(`every answer of ${id}`, Object.keys(responses).filter((status) => !shown.text.includes(status)));
      check(`a request of ${id} to copy`, shown.text.includes("curl -s") && shown.text.includes(origin));
      const answers = Object.entries(responses).filter(([status]) => status < 300).map(([, answer]) => answer);
      for (const { schema } of [requestBody, ...answers].flatMap((part) => Object.values(part?.content ?? {}))) {
        none(`every field of what ${id} takes and answers`, [...fieldsWithin(schema)].filter((name) => !shown.names.includes(name)));
      }
    }
    const first = await page.locator("#authentication").innerText();
    for (const scheme of Object.values(api.components.securitySchemes)) {
      check("each way to get in", first.replace(/\s+/g, " ").includes(plain(scheme.description)), first);
    }
    check("what to type to log in", first.includes("/api/auth/login") && first.includes("Authorization: Bearer $TOKEN"), first);
    await close("the whole page");
  },

  async "the example of a task is one that the master takes"() {
    const { page, close } = await open(browser, { url: `${page_url}#submit_task` });
    await drawn(page);
    const example = await at(page, "submit_task").locator(".examples pre").first().innerText();
    const body = example.slice(example.indexOf("-d '") + 4, example.lastIndexOf("'")).replaceAll("'\\''", "'");
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${TOKEN}` };
    const answer = await fetch(`${origin}/api/tasks`, { method: "POST", headers, body });
    check("201 for the example", answer.status === 201, `${answer.status} ${await answer.text()} for ${example}`);
    await picture(page, "operation");
    await close("an example");
  },

  async "an operation opens by click, by its address and by the contents"() {
    const { page, close } = await open(browser, { url: `${page_url}#cancel_task` });
    await drawn(page);
    await eventually("the address to open its operation", () => isOpen(page, "cancel_task"));
    check("it to be in view", await at(page, "cancel_task").evaluate((node) => {
      const box = node.querySelector("summary").getBoundingClientRect();
      return box.top >= 0 && box.bottom <= innerHeight;
    }));
    check("the others to be closed", (await page.locator(".operation[open]").count()) === 1);
    await at(page, "list_tasks").locator("> summary").click();
    await eventually("a click to open", () => isOpen(page, "list_tasks"));
    check("the address to follow", page.url().endsWith("#list_tasks"), page.url());
    check("its answers in view", await at(page, "list_tasks").getByText("Answers", { exact: true }).isVisible());
    const inner = at(page, "list_tasks").locator("details.schema").first();
    await inner.locator("> summary").click();
    check("fields within fields", await inner.locator("li").first().isVisible());
    await at(page, "list_tasks").locator("> summary").click();
    await eventually("another to close", async () => !(await isOpen(page, "list_tasks")));
    for (const again of [1, 2]) {
      await page.locator('#contents a[href="#submit_task"]').click();
      await eventually(`the contents to open, time ${again}`, () => isOpen(page, "submit_task"));
      await at(page, "submit_task").evaluate((node) => { node.open = false; });
    }
    for (const broken of ["#%", "#nobody", "#a'b\"c"]) {
      await page.goto(page_url + broken);
      await drawn(page);
    }
    await close("addresses");
  },

  async "the filter shows what has the words and nothing else"() {
    const { page, close } = await open(browser);
    await drawn(page);
    await page.keyboard.press("/");
    check("/ to go to the filter", await page.locator("#filter").evaluate((node) => node === document.activeElement));
    await page.keyboard.type("archive");
    const texts = await page.locator(".operation:visible").evaluateAll((nodes) => nodes.map((node) => node.textContent.toLowerCase()));
    const fitting = operations.filter(({ path }) => path.includes("archive")).map(({ id }) => id);
    const shown = await shownIds(page);
    check("some", shown.length >= 1 && shown.length < ids.length, shown);
    none("those whose path has it", fitting.filter((id) => !shown.includes(id)));
    check("only such as have it", texts.every((text) => text.includes("archive")));
    check("how many", (await page.locator("#found").innerText()) === `${shown.length} of ${ids.length}`);
    check("the contents to go with it", (await page.locator("#index [data-entry]:visible").count()) === shown.length);
    await page.locator("#filter").fill("POST /api/tasks");
    const posts = await shownIds(page);
    check("a method and a path", posts.includes("submit_task") && !posts.includes("list_tasks"), posts);
    await page.locator("#filter").fill("no such word anywhere");
    check("nothing for nonsense", (await shownIds(page)).length === 0);
    await page.keyboard.press("Escape");
    check("all again", same(await shownIds(page), ids));
    await page.locator("#filter").fill("archive");
    await page.evaluate(() => { location.hash = "#login"; });
    await eventually("an address to get past the filter", async () => (await isOpen(page, "login")) && (await at(page, "login").isVisible()));
    await close("the filter");
  },

  async "it fits every width"() {
    for (const viewport of [DESKTOP, { width: 1000, height: 700 }, PHONE, { width: 320, height: 568 }]) {
      const { page, close } = await open(browser, { viewport, hasTouch: viewport.width < 500 });
      await drawn(page);
      none(`all within ${viewport.width} px`, await page.evaluate(tooWide));
      await picture(page, `width-${viewport.width}`);
      await openAll(page);
      none(`all within ${viewport.width} px, opened`, await page.evaluate(tooWide));
      await page.locator("#filter").fill("archive");
      none(`what was found within ${viewport.width} px`, await page.evaluate(tooWide));
      await close(`${viewport.width} px`);
    }
  },

  async "on a phone nothing covers what an address leads to"() {
    const { page, close } = await open(browser, { url: `${page_url}#submit_task`, viewport: PHONE, hasTouch: true });
    await drawn(page);
    await eventually("the operation to be seen from its top", () => page.evaluate(() => {
      const box = document.querySelector("#submit_task > summary").getBoundingClientRect();
      const top = document.elementFromPoint(box.left + box.width / 2, box.top + 4);
      return Boolean(top?.closest("#submit_task")) || (top?.outerHTML.slice(0, 80) ?? "nothing");
    }));
    await picture(page, "phone-operation");
    await close("an address on a phone");
  },

  async "it can be read by day and by night"() {
    for (const colorScheme of ["light", "dark"]) {
      const { page, close } = await open(browser, { colorScheme });
      await drawn(page);
      await at(page, "submit_task").locator("> summary").click();
      await picture(page, colorScheme);
      await openAll(page);
      const { ground, count, found } = await page.evaluate(contrasts);
      check(`${colorScheme} to be so`, colorScheme === "dark" ? ground < 0.05 : ground > 0.9, `${ground}`);
      check("texts to measure", count > 10 * ids.length, `${count}`);
      none(`a contrast of ${LEAST_CONTRAST} in ${colorScheme}`, found.filter(([ratio]) => ratio < LEAST_CONTRAST));
      await close(colorScheme);
    }
  },

  async "the keyboard gets everywhere"() {
    const { page, close } = await open(browser);
    await drawn(page);
    const reached = new Set();
    const focus = () => page.evaluate(() => {
      const node = document.activeElement;
      const style = getComputedStyle(node);
      return { text: node.innerText, id: node.matches(".operation > summary") ? node.parentElement.id : "",
        isSeen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1, isBody: node === document.body };
    });
    for (let step = 0; step < 10 * ids.length; step += 1) {
      await page.keyboard.press("Tab");
      const { text, id, isSeen, isBody } = await focus();
      // It has been all around.
      if (isBody) break;
      if (step === 0) check("a way past the contents first", text === "Skip the contents", text);
      if (!id) continue;
      check(`a ring around ${id}`, isSeen);
      reached.add(id);
    }
    check("each operation by Tab", same(reached, ids), [...reached]);
    await at(page, "list_tasks").locator("> summary").focus();
    await page.keyboard.press("Enter");
    await eventually("Enter to open", () => isOpen(page, "list_tasks"));
    await page.keyboard.press("Space");
    await eventually("Space to close", async () => !(await isOpen(page, "list_tasks")));
    await page.locator(".skip").focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    check("the way past the contents to lead there", await page.evaluate(() => Boolean(document.activeElement.closest("main"))));
    await close("the keyboard");
  },

  async "text is never markup"() {
    // Without the policy, so that it is the page alone that keeps them out.
    const evil = `"'><img src=x onerror="window.hit=1"><script>window.hit=1</script><a href="javascript:window.hit=1">go</a>`;
    const texts = ["description", "summary", "title", "version", "name", "operationId", "example", "pattern", "format"];
    const spoilt = (value, key) => {
      if (typeof value === "string") return texts.includes(key) ? `${value} ${evil}` : value;
      if (Array.isArray(value)) return value.map((item) => (key === "tags" || key === "enum" ? `${item} ${evil}` : spoilt(item, key)));
      if (value === null || typeof value !== "object") return value;
      const isNaming = ["properties", "responses", "content", "headers"].includes(key);
      return Object.fromEntries(Object.entries(value).map(([name, item]) =>
        [isNaming ? `${name} ${evil}` : name, isNaming ? spoilt(item, "") : spoilt(item, name)]));
    };
    const body = JSON.stringify(spoilt(api, ""));
    const { page, close } = await open(browser, { bypassCSP: true, document: { contentType: "application/json", body } });
    await drawn(page);
    await openAll(page);
    check("all operations all the same", (await page.locator(".operation").count()) === ids.length);
    check("the text as it is", (await page.locator("#document").innerText()).split("<img src=x").length > ids.length);
    const made = await page.evaluate(() =>
      [...document.querySelectorAll("main img, main script, nav script, nav #index img, [onerror], a[href^='javascript' i]")].map((node) => node.outerHTML));
    none("no element made of text", made);
    check("nothing to have run", await page.evaluate(() => window.hit === undefined));
    await close("a hostile document");
  },

  async "without the document or without scripts it says so"() {
    const away = { status: 503, contentType: "application/problem+json", body: "{}" };
    const failing = await open(browser, { faults: false, document: away });
    await failing.page.getByText("the document was answered with 503").waitFor();
    await failing.close("no document");
    const silent = await open(browser, { javaScriptEnabled: false });
    check("where the document is", await silent.page.locator('noscript a[href="/api-docs/openapi.json"]').isVisible());
    await silent.close("no scripts");
  },

  async "the first page leads here"() {
    const { page, close } = await open(browser, { url: `${origin}/` });
    none("all within a phone", await page.setViewportSize(PHONE).then(() => page.evaluate(tooWide)));
    await picture(page, "home");
    await page.locator('a[href="/docs"]').click();
    await drawn(page);
    await close("the first page");
  },
};

try {
  for (const [name, story] of Object.entries(stories)) {
    const before = failures;
    try {
      await story();
    } catch (error) {
      check(`${name}, to its end`, false, String(error.stack ?? error));
    }
    console.log(`${before === failures ? "ok  " : "FAIL"} ${name}`);
  }
} finally {
  await browser.close();
}
console.log(`${checks} checks, ${failures} failed`);
process.exitCode = failures ? 1 : 0;
