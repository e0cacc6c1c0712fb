import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { axeFindings, widthsOf } from "./accessible.js";
import { Billing, type ConsoleProcess, consoleToken } from "./billing.js";
import { hasChromium, launchChromium, openContext } from "./chromium.js";

/** The machine may be busy with all other tests, in ms. */
const patienceMs = 150_000;

const service = "billing.v1.InvoiceService";
const good = { customer: "Ada & Sons", email: "ada@example.com" };
const bad = { customer: "Ada & Sons", email: "ada.example.com" };
const lines = [{ text: "Coffee", cents: 26_400n }];

type Stored = Awaited<ReturnType<BrowserContext["storageState"]>>;

describe.skipIf(!hasChromium)("jetrpc console, in a browser", { timeout: 3 * patienceMs }, () => {
  let billing: Billing;
  let shown: ConsoleProcess;
  let browser: Browser;
  let session: Stored;
  const contexts: BrowserContext[] = [];
  const problems: string[] = [];

  beforeAll(async () => {
    billing = await Billing.start();
    await billing.startWorker();
    shown = await billing.startConsole();
    browser = await launchChromium();
    session = await logIn(shown.address);
  }, 2 * patienceMs);
  afterEach(async () => {
    for (const context of contexts.splice(0)) {
      await context.close();
    }
    expect(problems.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await billing?.[Symbol.asyncDispose]();
  });

  async function newContext(options: Parameters<Browser["newContext"]>[0] = {}) {
    const context = await openContext(browser, problems, options);
    context.setDefaultTimeout(patienceMs);
    contexts.push(context);
    return context;
  }

  /** What a browser stores after an address that works once was opened. */
  async function logIn(address: string): Promise<Stored> {
    const context = await newContext();
    const page = await context.newPage();
    await page.goto(address);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    return await context.storageState();
  }

  async function open(path: string, options: Parameters<Browser["newContext"]>[0] = {}) {
    const page = await (await newContext({ storageState: session, ...options })).newPage();
    await page.goto(`${shown.url}${path}`);
    return page;
  }

  const send = (number: string, to: { customer: string; email: string }) =>
    billing.client.sendInvoice.submit({ number, ...to, lines } as never, {
      callId: `invoice-${number}`,
    });
  const callPath = (id: string, method = "SendInvoice") =>
    `/call?service=${service}&method=${method}&id=${id}`;
  const state = (page: Page, name: string) =>
    page.locator(".head .state").getByText(name, { exact: true }).waitFor();
  const button = (page: Page, name: string | RegExp) =>
    page.getByRole("button", { name, exact: typeof name === "string" });

  test("who knows only an invoice number finds its call, sees why it failed, corrects the request and replays it", async () => {
    for (const number of ["4710", "4712"]) {
      await (await send(number, good)).result();
    }
    await expect((await send("4711", bad)).result()).rejects.toThrow("has no @");
    const page = await open("/");
    await page.getByRole("heading", { name: "Overview" }).waitFor();

    // By keyboard alone.
    await page.keyboard.press("/");
    await page.keyboard.type("invoice-471");
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "invoice-4711" }).getByText("Failed").waitFor();
    expect(new URL(page.url()).search).toBe("?id=invoice-471");
    await page.locator(".list .row").first().focus();
    const focused = () => page.locator(".list .row:focus .of-id").textContent();
    while ((await focused()) !== "invoice-4711") {
      const before = await focused();
      await page.keyboard.press("ArrowDown");
      await expect.poll(focused).not.toBe(before);
    }
    await page.keyboard.press("Enter");

    const why = page.getByRole("region", { name: "Why it failed" });
    await why.getByText('invoice 4711: the address "ada.example.com" has no @').waitFor();
    await page.locator(".timeline").getByText("Attempt 1").waitFor();
    await button(page, "Edit and replay…").click();
    const request = page.getByLabel("Request, as JSON");
    const text = await request.inputValue();
    const replay = button(page, "Replay 1 call");
    await request.fill(text.replace('"email"', '"mail"').replace('"26400"', '"many"'));
    await button(page, /^mail .*no such field/).waitFor();
    await button(page, /^lines\[0\]\.cents /).waitFor();
    expect(await replay.isDisabled()).toBe(true);
    await request.fill(`${text.slice(0, -1)},`);
    await button(page, /line \d+, column \d+/).waitFor();
    await request.fill(text.replace("ada.example", "ada@example"));
    await replay.click();
    await state(page, "Succeeded");
    await page
      .getByRole("region", { name: "Response" })
      .getByText("sent to ada@example.com")
      .first()
      .waitFor();

    const file = page.getByRole("link", { name: "invoice-4711.txt" });
    const [download] = await Promise.all([page.waitForEvent("download"), file.click()]);
    expect(await readFile(await download.path(), "utf8")).toBe("Invoice 4711: 26400");

    await page.getByRole("link", { name: "Log of acts" }).click();
    const acts = page.getByRole("row").filter({ hasText: "replay" });
    await acts
      .getByRole("link", { name: /invoice-4711/ })
      .first()
      .waitFor();
  });

  test("who knows only what a call is about finds it by its request, its error or its result", async () => {
    const submit = async (number: string, customer: string) =>
      await billing.client.sendInvoice.submit({
        ...{ number, customer, email: "grace@example.com", lines },
      } as never);
    const failed = await submit("8811", "Unlucky Ltd");
    await failed.result().catch(() => undefined);
    await (await submit("8812", "Ada")).result();
    const page = await open("/");
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("8811");
    await page.keyboard.press("Enter");
    await page.getByText("No id begins with “8811”").waitFor();
    await page.getByRole("link", { name: "Look for “8811” in requests" }).press("Enter");
    const rows = page.locator(".list .row");
    await rows.filter({ hasText: failed.id }).getByText("Failed").waitFor();
    await page.getByText(/^Looked into [\d,]+ messages/).waitFor();
    expect(new URL(page.url()).search).toBe("?text=8811");
    expect(await rows.count()).toBe(1);
    expect(await button(page, "Live").isDisabled()).toBe(true);

    // The request of the one that succeeded is gone, and its result tells.
    await page.getByLabel("Text in request").fill("grace");
    await page.getByText("2 calls", { exact: true }).waitFor();
    await page.getByLabel("Text in request").fill("nobody");
    await page.getByText("No call fits", { exact: true }).waitFor();
    await expectAccessible(page, "/calls?text=nobody");
  });

  test("a link with a time means the same in another time zone", async () => {
    const path = "/calls?until=2026-11-26T22%3A30%3A00.000Z";
    for (const [timezoneId, shown] of [
      ["Asia/Tokyo", "2026-11-27T07:30"],
      ["America/New_York", "2026-11-26T17:30"],
    ] as const) {
      const page = await open(path, { timezoneId });
      const field = page.getByLabel("Until");
      await field.waitFor();
      expect(await field.inputValue()).toBe(shown);
      await field.fill(shown.replace(":30", ":31"));
      await page.waitForURL("**/calls?until=2026-11-26T22%3A31%3A00.000Z");
    }
  });

  test("dead letters are counted first, then replayed and discarded by their error", async () => {
    const count = 30;
    for (let number = 0; number < count; number++) {
      await send(`bulk-${number}`, bad);
    }
    const page = await open("/dead-letters");
    const group = page.locator(".dead-group").filter({ hasText: "has no @" });
    await group.locator(".count").getByText(String(count), { exact: true }).waitFor();
    await group.getByRole("button", { name: "Replay…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(`${count} calls fit now`).waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await group.getByRole("button", { name: "Replay…" }).click();
    await button(page, `Replay ${count}`).click();
    await dialog.getByText(`Done: ${count} of ${count} replayed`).waitFor();
    await button(page, "Close").click();

    // They fail anew: nobody has corrected them.
    await group.locator(".count").getByText(String(count), { exact: true }).waitFor();
    await group.getByRole("link", { name: `Show ${count}` }).click();
    await page.getByText(`${count} calls`, { exact: true }).waitFor();
    await button(page, "Discard all that fit…").click();
    await button(page, `Discard ${count}`).click();
    await dialog.getByText(`Done: ${count} of ${count} discarded`).waitFor();
    await button(page, "Close").click();
    await page.reload();
    await page.getByText("No call fits").waitFor();
  });

  test("a call that runs is seen live, and canceled", async () => {
    await billing.client.printStatements.submit({ month: 11, pages: 40 } as never, {
      callId: "statements",
    });
    const page = await open(callPath("statements", "PrintStatements"));
    await state(page, "Running");
    await page.getByText("20 of 40").waitFor();
    await page.getByText('"statement 20"').waitFor();
    await button(page, "Cancel…").click();
    await page.getByRole("dialog").getByText("1 call: statements").waitFor();
    await button(page, "Cancel the call").click();
    await page.getByText("The call is canceled.").waitFor();
    await state(page, "Canceled");
    expect(await button(page, "Cancel…").count()).toBe(0);
  });

  test("eight windows that each watch something leave a connection for all else", async () => {
    await billing.client.printStatements.submit({ month: 10, pages: 40 } as never, {
      callId: "watched",
    });
    const context = await newContext({ storageState: session });
    for (let window = 0; window < 8; window++) {
      const page = await context.newPage();
      await page.goto(`${shown.url}${callPath("watched", "PrintStatements")}`);
      await state(page, "Running");
      await page.getByText("20 of 40").waitFor();
    }
    const [first] = context.pages() as [Page];
    await button(first, "Cancel…").click();
    await button(first, "Cancel the call").click();
    for (const page of context.pages()) {
      await state(page, "Canceled");
    }
  });

  test("a method is paused and resumed", async () => {
    const page = await open(`/method?service=${service}&method=PrintStatements`);
    await button(page, "Pause…").click();
    await button(page, "Pause").click();
    await page.getByText("Paused until resumed").waitFor();
    await billing.client.printStatements.submit({ month: 12, pages: 0 } as never, {
      callId: "paused",
    });
    const call = await open(callPath("paused", "PrintStatements"));
    await state(call, "Queued");
    await button(page, "Resume…").click();
    await button(page, "Resume").click();
    await button(page, "Pause…").waitFor();
    await state(call, "Succeeded");
  });

  test("who may look only sees why acts are off, and no values where they are hidden", async () => {
    await (await send("4811", bad)).result().catch(() => undefined);
    const folder = mkdtempSync(join(tmpdir(), "jetrpc-tokens-"));
    try {
      const { token, entry } = consoleToken("Eve", "read");
      const file = join(folder, "tokens.json");
      writeFileSync(file, JSON.stringify([entry]));
      const console = await billing.startConsole(["--tokens", file, "--mask"]);
      const page = await (await newContext()).newPage();
      const path = callPath("invoice-4811");
      await page.goto(`${console.url}${path}`);
      await page.getByRole("link", { name: "Log in" }).click();
      await page.getByLabel("Token").fill(token);
      await page.getByRole("button", { name: "Log in" }).click();
      await state(page, "Failed");
      for (const name of ["Replay…", "Edit and replay…", "Discard…"]) {
        expect(await button(page, name).isDisabled()).toBe(true);
        await expect.poll(() => page.locator(`span[title*="read"]`).count()).toBe(3);
      }
      const request = page.getByRole("region", { name: "Request" }).first();
      await request.getByText('"***"').first().waitFor();
      expect(await request.textContent()).not.toContain("Ada");
      await page.getByText("Eve, may look only, values hidden").waitFor();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("an observer's credentials show what they may, and say who may see the rest", async () => {
    await using other = await Billing.start({ withUsers: true });
    const console = await other.startConsole([], "eye");
    const page = await (await newContext()).newPage();
    await page.goto(console.address);
    await page.getByRole("link", { name: "SendInvoice" }).waitFor();
    await page.getByRole("link", { name: "Infrastructure" }).click();
    await page.getByText("BILLING_DEAD").waitFor();
    await page.getByRole("link", { name: "Calls" }).click();
    await page
      .getByRole("alert")
      .getByText(/observer with mayRead/)
      .waitFor();
    await page.getByRole("link", { name: "Dead letters" }).click();
    await page
      .getByRole("alert")
      .getByText(/observer with mayRead/)
      .waitFor();
    expect(await button(page, "Replay all…").isDisabled()).toBe(true);
  });

  test("100,000 calls are scrolled through, and few rows are in the document", async () => {
    const count = 100_000;
    await using other = await Billing.start();
    const { client } = other;
    for (let from = 0; from < count; from += 1_000) {
      await Promise.all(
        Array.from({ length: 1_000 }, (_, index) =>
          client.sendInvoice.submit({ number: "1", ...good } as never, {
            callId: `n-${from + index}`,
          }),
        ),
      );
    }
    const console = await other.startConsole();
    const page = await (await newContext()).newPage();
    await page.goto(console.address);
    await page.getByRole("link", { name: "Calls" }).click();
    const rows = page.locator(".list .row");
    await rows.first().focus();
    const foot = page.locator(".list-foot");
    let most = 0;
    await expect
      .poll(
        async () => {
          await page.keyboard.press("End");
          most = Math.max(most, await rows.count());
          return await foot.textContent();
        },
        { timeout: 2 * patienceMs, interval: 100 },
      )
      .toMatch(/^100,000 calls(?! so far)/);
    await page.keyboard.press("End");
    await page.locator(".list .row:focus").getByText("n-", { exact: false }).waitFor();
    await page.getByText("100,000 of 100,000").waitFor({ state: "attached" });
    expect(most).toBeLessThan(100);
    await page.keyboard.press("Home");
    await page.locator(".list .row:focus").getByText("1 of 100,000").waitFor({ state: "attached" });
    expect(await rows.count()).toBeLessThan(100);
  });

  test("a search in the texts of many calls says how far it is, and asks before it goes on", async () => {
    await using other = await Billing.start();
    await other.storeRequests(60_000, { number: "1", ...good });
    const console = await other.startConsole();
    const page = await (await newContext()).newPage();
    await page.goto(console.address);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.goto(`${console.url}/calls?text=nobody`);
    await page.getByText("No call fits so far").waitFor();
    await button(page, "Look into 50,000 more").click();
    await page.getByText("No call fits", { exact: true }).waitFor();
    await page.getByText(/^Looked into 60,000 messages/).waitFor();
  });

  test("a lost server is told on the page, which goes on by itself", async () => {
    const page = await open("/calls");
    const row = page.getByRole("link", { name: /invoice-5000/ });
    const silent = page.getByText("The console does not answer");
    const noNats = page.getByText("no connection to NATS");
    await page.locator(".list-foot").getByText("Live").waitFor();
    await billing.nats.kill();
    await noNats.waitFor();
    await billing.nats.restart();
    await noNats.waitFor({ state: "detached" });
    await send("5000", good);
    await row.waitFor();

    await shown.kill();
    await silent.waitFor();
    await shown.start();
    await page.getByText("Your session has ended").waitFor();
    session = await logIn(shown.address);
  });

  test.for(["light", "dark"] as const)(
    "nobody is kept out, and nothing is cut off on a phone: %s",
    async (colorScheme) => {
      await (await send(`axe-${colorScheme}`, bad)).result().catch(() => undefined);
      const page = await open("/", { colorScheme, viewport: { width: 320, height: 640 } });
      await page.getByRole("link", { name: "SendInvoice", exact: true }).waitFor();

      // The first stop of the keyboard leads past the navigation.
      await page.keyboard.press("Tab");
      await page.getByRole("link", { name: "Skip to the content" }).press("Enter");
      await expect.poll(() => page.evaluate("document.activeElement.id")).toBe("main");

      const pages: [path: string, ready: string][] = [
        ["/", "SendInvoice"],
        ["/calls", "calls"],
        ["/calls?id=nobody", "No call fits"],
        [callPath(`invoice-axe-${colorScheme}`), "Why it failed"],
        [callPath("nobody"), "There is no such call"],
        [`/method?service=${service}&method=SendInvoice`, "Options of the schema"],
        ["/dead-letters", "failed for good"],
        ["/workers", "1.4.2"],
        ["/infrastructure", "BILLING_DEAD"],
        ["/acts", "Outcome"],
        ["/nothing", "There is no such page"],
      ];
      for (const [path, ready] of pages) {
        await page.goto(`${shown.url}${path}`);
        for (const width of [320, 1280]) {
          await page.setViewportSize({ width, height: 800 });
          await page.locator("main").getByText(ready).first().waitFor();
          // Places of what is not loaded yet have a text without contrast.
          await expect.poll(() => page.locator("main [aria-busy=true]").count()).toBe(0);
          await expectAccessible(page, `${path} at ${width}`);
        }
      }
      await page.goto(`${shown.url}${callPath(`invoice-axe-${colorScheme}`)}`);
      for (const name of ["Replay…", "Edit and replay…", "Discard…"]) {
        await button(page, name).click();
        await page.getByRole("dialog").waitFor();
        for (const width of [320, 1280]) {
          await page.setViewportSize({ width, height: 800 });
          await expectAccessible(page, `${name} at ${width}`);
        }
        await page.keyboard.press("Escape");
        await page.getByRole("dialog").waitFor({ state: "detached" });
        // Where it was.
        await expect.poll(() => page.locator(":focus").textContent()).toBe(name);
      }
    },
  );
});

/** No finding of axe, and no scrolling to the side. */
async function expectAccessible(page: Page, where: string): Promise<void> {
  const findings = await axeFindings(page);
  expect({ where, findings }).toEqual({ where, findings: [] });
  const { scroll, client } = await widthsOf(page);
  expect({ where, scroll }).toEqual({ where, scroll: Math.min(scroll, client) });
}
