import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { connect } from "@jetrpc/runtime/node";
import { createPdfClient } from "@jetrpc-examples/pdf-v1-client";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startWeb, type Web } from "../examples/web/server/start-web.js";
import { axeFindings, widthsOf } from "./accessible.js";
import { hasChromium, launchChromium, openContext } from "./chromium.js";

const fixtures = join(import.meta.dirname, "../services/pdf/fixtures");
/** Pages of a document that takes its time: something can happen meanwhile. */
const longPages = 120;
const short = join(fixtures, "three-pages.pdf");
const images = join(import.meta.dirname, "../services/image/fixtures");
/** An image of seven lines of text. */
const photo = join(images, "photo.jpg");

/** The machine may be busy with all other tests, in ms. */
const patienceMs = 150_000;

/** Of a page. */
declare const DataTransfer: new () => { readonly items: { add(file: File): void } };

describe.skipIf(!hasChromium)("examples/web, in a browser", { timeout: 2 * patienceMs }, () => {
  let web: Web;
  let browser: Browser;
  let long: { name: string; mimeType: string; buffer: Buffer };
  const contexts: BrowserContext[] = [];
  const problems: string[] = [];

  beforeAll(async () => {
    web = await startWeb({ port: 0, env: { PDF_THREADS: "1" } });
    long = { name: "demo.pdf", mimeType: "application/pdf", buffer: await firstPages(web) };
    browser = await launchChromium();
  });
  afterEach(async () => {
    for (const context of contexts.splice(0)) {
      await context.close();
    }
    expect(problems.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await web?.[Symbol.asyncDispose]();
  });

  /** A browser of its own, with nothing stored. */
  async function newContext(options: Parameters<Browser["newContext"]>[0] = {}) {
    const context = await openContext(browser, problems, options);
    context.setDefaultTimeout(patienceMs);
    contexts.push(context);
    return context;
  }

  async function openAs(user: string, context?: BrowserContext, path = "/"): Promise<Page> {
    const page = await (context ?? (await newContext())).newPage();
    await page.goto(`${web.url}${path}`);
    await page.getByRole("button", { name: user }).click();
    await page.getByRole("heading", { name: "Your documents" }).waitFor();
    return page;
  }

  const choose = (page: Page, file: string | typeof long) =>
    page.getByLabel("Add a PDF").setInputFiles(file);

  /** Chooses an image, once the page takes them. */
  async function chooseImage(page: Page, file: string | typeof long): Promise<void> {
    await page.getByLabel("Add a PDF or an image").waitFor({ state: "attached" });
    await choose(page, file);
  }

  /** Drops a file of this machine onto a page. */
  async function dropImage(page: Page, path: string): Promise<void> {
    await page.getByLabel("Add a PDF or an image").waitFor({ state: "attached" });
    const file = { name: basename(path), bytes: [...(await readFile(path))] };
    const dataTransfer = await page.evaluateHandle(({ name, bytes }) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(bytes)], name, { type: "image/jpeg" }));
      return transfer;
    }, file);
    await page.dispatchEvent("body", "dragover", { dataTransfer });
    await page.getByText("Drop it here").waitFor();
    await page.dispatchEvent("body", "drop", { dataTransfer });
  }

  /** The numbers of the pages whose pictures are there. */
  const pagesOf = (page: Page) =>
    page
      .locator(".page img")
      .evaluateAll((images) => images.map((image) => Number(image.getAttribute("alt")?.slice(5))));

  /** Waits for more pictures than so many, and returns how many there are. */
  async function morePages(page: Page, than: number): Promise<number> {
    await page.locator(".page img").nth(than).waitFor({ state: "attached" });
    return page.locator(".page img").count();
  }

  async function cancel(page: Page): Promise<void> {
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText(/^Canceled after/).waitFor();
  }

  test("a document is sent, its pages appear, and words are found in their text", async () => {
    const page = await openAs("Ada");
    await page.getByText("Nothing to read yet").waitFor();
    const session = await page.context().newCDPSession(page);
    await session.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: 200_000,
    });
    await choose(page, long);
    const sending = page.getByRole("progressbar", { name: "Sending demo.pdf" });
    // It does not wait for a bar that has gone.
    const sent = () => sending.evaluateAll(([bar]) => Number(bar?.getAttribute("value")));
    await expect.poll(sent).toBeGreaterThan(5);
    await session.send("Network.disable");
    await session.detach();
    await page.getByText(new RegExp(`^Page \\d+ of ${longPages}`)).waitFor();
    await cancel(page);
    await page.getByRole("link", { name: "demo.pdf" }).getByText("Canceled").waitFor();

    await choose(page, short);
    await page.getByText("3 pages, all there").waitFor();
    expect(await pagesOf(page)).toEqual([1, 2, 3]);
    const text = (await page.locator(".page .text").first().textContent()) ?? "";
    expect(text.length).toBeGreaterThan(0);
    const [word = ""] = text.match(/\w{3,}/) ?? [];
    await page.getByLabel("Search the text").fill(word.toLowerCase());
    await expect.poll(() => page.locator("mark").first().textContent()).toBe(word);
    await page.getByLabel("Search the text").fill("no such words");
    await page.getByText("Nothing found").waitFor();
  });

  test("work is seen again after a reload, and in another tab, where it can be canceled", async () => {
    const page = await openAs("Ada");
    await choose(page, long);
    const before = await morePages(page, 5);
    await page.reload();
    await page.getByRole("link", { name: "demo.pdf" }).waitFor();
    await morePages(page, before + 3);

    const other = await openAs("Ada", page.context());
    await other.getByRole("link", { name: "demo.pdf" }).click();
    const seen = await morePages(other, 3);
    expect((await pagesOf(other)).slice(0, seen)).toEqual(
      Array.from({ length: seen }, (_, index) => index + 1),
    );
    await cancel(other);
    await page.getByText(/^Canceled after/).waitFor();
  });

  test("each page comes once and in order, though workers and the gateway are killed", async () => {
    const page = await openAs("Ada");
    await choose(page, long);
    let count = await morePages(page, 5);
    await Promise.all(web.workers.map((worker) => worker.restart()));
    count = await morePages(page, count + 20);
    await web.gateway.kill();
    const lost = page.getByText("Reconnecting…");
    await lost.waitFor();
    await expectAccessible(page);
    await web.gateway.start();
    await lost.waitFor({ state: "detached" });
    await morePages(page, count + 5);
    await page.getByText(`${longPages} pages, all there`).waitFor();
    expect(await pagesOf(page)).toEqual(Array.from({ length: longPages }, (_, index) => index + 1));
  });

  test("a bad file is told at once, and says why", async () => {
    const page = await openAs("Ada");
    const alert = page.getByRole("alert");
    for (const [name, text] of [
      ["garbage.pdf", "not a PDF, or it is damaged"],
      ["encrypted.pdf", "locked with a password"],
    ] as const) {
      await choose(page, join(fixtures, name));
      await alert.getByText(name).waitFor();
      expect(await alert.textContent()).toContain(text);
      await page.getByRole("button", { name: "Dismiss" }).click();
    }
    await page.getByText("None yet.").waitFor();
  });

  test("an image is shown, its lines appear beside it, are selected, and found", async () => {
    const page = await openAs("Ada");
    await dropImage(page, photo);
    await page.getByText(/^7 lines, all read/).waitFor();
    const picture = page.getByRole("img", { name: "photo.jpg" });
    await expect
      .poll(() =>
        picture.evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth),
      )
      .toBeGreaterThan(100);
    const lines = page.getByRole("list", { name: "Lines of text" }).getByRole("listitem");
    const texts = await lines.allTextContents();
    expect(texts[0]).toBe("The harbour of a small town");
    expect(texts.at(-1)).toContain("Invoice No. 2024-1187");

    const line = lines.first();
    await line.selectText();
    expect(await page.evaluate("String(getSelection())")).toContain(texts[0]);

    await page.getByLabel("Search the text").fill("HARBOUR");
    await page.getByText("1 in 1 line").waitFor();
    expect(await line.locator("mark").textContent()).toBe("harbour");
    // The line is framed in the picture, in its upper half.
    const frame = await page.locator(".frames polygon").boundingBox();
    const around = await picture.boundingBox();
    expect(frame && around && frame.y > around.y).toBe(true);
    expect(frame && around && frame.y + frame.height < around.y + around.height / 2).toBe(true);

    // It is in the list, and comes back by its address.
    await page.reload();
    await page.getByText(/^7 lines, all read/).waitFor();
    await page.getByRole("link", { name: "photo.jpg" }).getByText("Done").waitFor();
    const grace = await openAs("Grace", page.context(), `/${new URL(page.url()).hash}`);
    await grace.getByRole("alert").getByText("no such document of yours").waitFor();
  });

  test("an image goes on when its worker is killed; without one, the page takes PDFs only", async () => {
    const page = await openAs("Ada");
    await chooseImage(page, join(images, "scan.jpg"));
    await page.getByRole("listitem").filter({ hasText: "harbour" }).waitFor();
    await web.imageWorker.restart();
    await page.getByText(/^7 lines, all read/).waitFor();
    const lines = page.getByRole("list", { name: "Lines of text" }).getByRole("listitem");
    expect(await lines.count()).toBe(7);

    await web.imageWorker.kill();
    await page.getByText("Add a PDF", { exact: true }).waitFor();
    await choose(page, photo);
    await page.getByRole("alert").getByText("cannot be reached").waitFor();
    await web.imageWorker.restart();
    await page.getByText("Add a PDF or an image").waitFor();
  });

  test("a bad image is told, and why", async () => {
    const page = await openAs("Ada");
    const alert = page.getByRole("alert");
    const garbage = {
      name: "garbage.png",
      mimeType: "image/png",
      buffer: Buffer.alloc(100_000, 7),
    };
    await chooseImage(page, garbage);
    await alert.getByText("garbage.png").waitFor();
    expect(await alert.textContent()).toContain("not an image that can be read, or it is damaged");
    await page.getByRole("button", { name: "Dismiss" }).click();
    await page.getByText("None yet.").waitFor();

    // Only who reads its pixels sees that it ends too early.
    const whole = await readFile(photo);
    const half = { name: "half.jpg", mimeType: "image/jpeg", buffer: whole.subarray(0, 40_000) };
    await chooseImage(page, half);
    await alert.getByText("or it is damaged").waitFor();
    await page.getByRole("link", { name: "half.jpg" }).getByText("Failed").waitFor();
  });

  test("a user does not see the calls of another one, not even by their address", async () => {
    const ada = await openAs("Ada");
    await choose(ada, short);
    await ada.getByText("3 pages, all there").waitFor();
    const { hash } = new URL(ada.url());

    const grace = await openAs("Grace", ada.context(), `/${hash}`);
    await grace.getByRole("alert").getByText("no such document of yours").waitFor();
    expect(await grace.locator(".page").count()).toBe(0);
    expect(await grace.getByRole("link", { name: "three-pages.pdf" }).count()).toBe(0);

    // The address is right: it is Ada's.
    const again = await openAs("Ada", ada.context(), `/${hash}`);
    await again.getByText("3 pages, all there").waitFor();
  });

  test("npm run web prints the address of the page, and ends what it has started", async () => {
    const main = join(import.meta.dirname, "../examples/web/server/main.ts");
    const child = spawn(process.execPath, ["--import", "tsx", main], {
      env: { ...process.env, PORT: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let printed = "";
    child.stdout.on("data", (data) => {
      printed += data;
    });
    await expect.poll(() => printed).toMatch(/^Open +http\S+\n/m);
    const url = /^Open +(\S+)/m.exec(printed)?.[1] ?? "";
    expect(await (await fetch(url)).text()).toContain("<title>Folio</title>");
    const pids = [...printed.matchAll(/pid (\d+)(?: and (\d+))?/g)].flatMap(([, ...its]) => its);
    expect(pids.filter(Boolean).length).toBe(4);

    const exited = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    for (const pid of pids.filter(Boolean)) {
      expect(() => process.kill(Number(pid), 0)).toThrow("ESRCH");
    }
  });

  test.for(["light", "dark"] as const)(
    "nobody is kept out, and nothing is cut off on a phone: %s",
    async (colorScheme) => {
      const context = await newContext({ colorScheme, viewport: { width: 320, height: 640 } });
      const page = await context.newPage();
      await page.goto(web.url);
      await page.getByRole("button", { name: "Ada" }).waitFor();
      await expectAccessible(page);
      await page.getByRole("button", { name: "Ada" }).click();
      await page.getByText("None yet.").waitFor();
      await choose(page, join(fixtures, "garbage.pdf"));
      await page.getByRole("alert").waitFor();
      await expectAccessible(page);
      await choose(page, short);
      await page.getByText("3 pages, all there").waitFor();
      await page.getByLabel("Search the text").fill("page");
      await expectAccessible(page);
      await page.setViewportSize({ width: 1280, height: 800 });
      await expectAccessible(page);
      await chooseImage(page, photo);
      await page.getByText(/^7 lines, all read/).waitFor();
      await page.getByLabel("Search the text").fill("box");
      await page.locator("mark").first().waitFor();
      await expectAccessible(page);
      await page.setViewportSize({ width: 320, height: 640 });
      await expectAccessible(page);
      await page.setViewportSize({ width: 1280, height: 800 });

      // By keyboard alone, from the list back to the document.
      await page.getByRole("link", { name: "Folio" }).focus();
      await page.keyboard.press("Enter");
      await page.getByText("Choose a document").waitFor();
      await page.getByRole("link", { name: "three-pages.pdf" }).focus();
      await page.keyboard.press("Enter");
      await page.getByText("3 pages, all there").waitFor();
    },
  );
});

/** The first pages of a long document. */
async function firstPages({ nats }: Web): Promise<Buffer> {
  await using connection = await connect({ nats: { servers: nats.url } });
  const document = await readFile(join(fixtures, "demo.pdf"));
  const ranges = [{ first: 1, last: longPages }];
  const { documents } = await createPdfClient(connection).split({ document, ranges });
  return Buffer.from(documents[0] ?? []);
}

/** No serious finding of axe, and no scrolling to the side. */
async function expectAccessible(page: Page): Promise<void> {
  const findings = await axeFindings(page);
  expect(findings.filter(({ impact }) => impact === "serious" || impact === "critical")).toEqual(
    [],
  );
  const { scroll, client } = await widthsOf(page);
  expect(scroll).toBeLessThanOrEqual(client);
}
