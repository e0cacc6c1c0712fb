import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { connect } from "@jetrpc/runtime/node";
import { createPdfClient } from "@jetrpc-examples/pdf-v1-client";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { startWeb, type Web } from "../examples/web/server/start-web.js";
import { freePorts } from "../packages/testing/src/free-ports.js";
import { axeFindings, widthsOf } from "./accessible.js";
import { hasChromium, launchChromium, openContext } from "./chromium.js";
import { run } from "./run.js";

const main = join(import.meta.dirname, "../examples/web/server/main.ts");
const fixtures = join(import.meta.dirname, "../services/pdf/fixtures");
/** Pages of a document that takes its time: something can happen meanwhile. */
const longPages = 120;
const short = join(fixtures, "three-pages.pdf");
const images = join(import.meta.dirname, "../services/image/fixtures");
/** An image of seven lines of text. */
const photo = join(images, "photo.jpg");

/** The machine may be busy with all other tests, in ms. */
const patienceMs = 150_000;

/** A file of this machine, or one that is made up. */
type Chosen = string | { name: string; mimeType: string; buffer: Buffer };

/** Of a page. */
declare const DataTransfer: new () => { readonly items: { add(file: File): void } };

describe.skipIf(!hasChromium)("examples/web, in a browser", { timeout: 2 * patienceMs }, () => {
  let web: Web;
  let browser: Browser;
  let long: Exclude<Chosen, string>;
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

  const choose = (page: Page, file: Chosen) => page.getByLabel("Add a PDF").setInputFiles(file);

  /** Chooses an image, once the page takes them. */
  async function chooseImage(page: Page, file: Chosen): Promise<void> {
    await page.getByLabel("Add a PDF or an image").waitFor({ state: "attached" });
    await choose(page, file);
  }

  /** Drops files of this machine onto a page. */
  async function dropImages(page: Page, ...paths: string[]): Promise<void> {
    await page.getByLabel("Add a PDF or an image").waitFor({ state: "attached" });
    const files = await Promise.all(
      paths.map(async (path) => ({ name: basename(path), bytes: [...(await readFile(path))] })),
    );
    const dataTransfer = await page.evaluateHandle((files) => {
      const transfer = new DataTransfer();
      for (const { name, bytes } of files) {
        transfer.items.add(new File([Uint8Array.from(bytes)], name, { type: "image/jpeg" }));
      }
      return transfer;
    }, files);
    await page.dispatchEvent("body", "dragover", { dataTransfer });
    await page.getByText("Drop it here").waitFor();
    // A text that is dragged is no file.
    const text = await page.evaluateHandle("new DataTransfer()");
    await page.dispatchEvent("body", "dragover", { dataTransfer: text });
    await page.getByText("Drop it here").waitFor({ state: "detached" });
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

  async function cancelUpload(page: Page): Promise<void> {
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Sending").waitFor({ state: "detached" });
    await page.getByText("None yet.").waitFor();
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
    await cancelUpload(page);
    await choose(page, long);
    // Its first call is submitted, and has to be canceled.
    await expect.poll(sent).toBeGreaterThan(70);
    const canceled = page.waitForResponse(
      (response) => response.url().endsWith("/Cancel") && response.ok(),
    );
    await cancelUpload(page);
    await canceled;
    await session.send("Network.disable");
    await session.detach();
    await choose(page, long);
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

  test("without a worker, a document that is being read says so, and goes on with the next one", async () => {
    const page = await openAs("Ada");
    await choose(page, long);
    const before = await morePages(page, 5);
    await Promise.all(web.workers.map((worker) => worker.kill()));
    await page.getByText("No worker is there").waitFor();
    await Promise.all(web.workers.map((worker) => worker.restart()));
    await morePages(page, before + 20);
    await page.getByText(new RegExp(`^Page \\d+ of ${longPages}`)).waitFor();
    await cancel(page);
  });

  test("a bad file is told at once, and says why", async () => {
    const page = await openAs("Ada");
    const alert = page.getByRole("alert");
    for (const [name, text] of [
      ["garbage.pdf", "not a PDF, or it is damaged"],
      ["encrypted.pdf", "locked with a password"],
      ["empty.pdf", "It is empty."],
    ] as const) {
      await choose(page, join(fixtures, name));
      await alert.getByText(name).waitFor();
      expect(await alert.textContent()).toContain(text);
      await page.getByRole("button", { name: "Dismiss" }).click();
    }
    await dropImages(page, photo, short);
    await alert.getByText("2 files cannot be sent together. Send one at a time.").waitFor();

    // As browsers do for folders, and for files that were changed since they were chosen.
    await page.evaluate(`Blob.prototype.arrayBuffer = async () => {
      throw new DOMException("A requested file or directory could not be found", "NotFoundError");
    }`);
    await choose(page, short);
    await alert.getByText("This cannot be read: it is a folder, or it was changed").waitFor();
    await page.getByText("None yet.").waitFor();
  });

  test("the content of a file decides what it is, not its name", async () => {
    const page = await openAs("Ada");
    const buffer = await readFile(photo);
    await chooseImage(page, { name: "IMG_1", mimeType: "", buffer });
    await page.getByRole("link", { name: "IMG_1" }).getByText("995 × 641").waitFor();
    const pdf = { name: "pages.jpg", mimeType: "image/jpeg", buffer: await readFile(short) };
    await chooseImage(page, pdf);
    await page.getByText("3 pages, all there").waitFor();
  });

  test.for([
    ["keeps nothing", "Storage.prototype.setItem = () => { throw new DOMException('full'); }"],
    [
      "is not allowed to keep something",
      `for (const name of ["localStorage", "sessionStorage"]) {
        Object.defineProperty(window, name, { get() { throw new DOMException("denied"); } });
      }`,
    ],
    [
      "has kept something else",
      // The empty page, before this one, keeps nothing.
      `if (location.protocol === "http:") {
        localStorage["folio.documents.ada"] ??= '[null, 1, { "kind": "pdf" }, { "id": "a" }]';
        localStorage["folio.documents.grace"] ??= '{ "documents": [] }';
      }`,
    ],
  ] as const)("a browser that %s can be used", async ([, script]) => {
    const context = await newContext();
    await context.addInitScript(script);
    const page = await openAs("Ada", context);
    await choose(page, short);
    await page.getByText("3 pages, all there").waitFor();
    expect(await page.locator(".documents li").allInnerTexts()).toHaveLength(1);
    await page.getByRole("button", { name: "Switch user" }).click();
    await page.getByRole("button", { name: "Grace" }).click();
    await page.getByText("None yet.").waitFor();
  });

  test("an address in which no document is shows the list, and a login that is away is told", async () => {
    const page = await openAs("Ada", undefined, "/#/%00*>");
    await page.getByText("Nothing to read yet").waitFor();
    await page.context().route("**/login?*", (route) => route.abort());
    await page.reload();
    await page.getByRole("alert").getByText("The login cannot be reached").waitFor();
    await page.context().unroute("**/login?*");
    await page.getByRole("button", { name: "Ada" }).click();
    await page.getByText("Nothing to read yet").waitFor();
  });

  test("an image is shown, its lines appear beside it, are selected, and found", async () => {
    const page = await openAs("Ada");
    await dropImages(page, photo);
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

  test("npm run web prints the address of the page, takes logins from the first moment on, and ends what it has started", async () => {
    const [port] = await freePorts(1);
    const child = spawn(process.execPath, ["--import", "tsx", main], {
      env: { ...process.env, PORT: `${port}` },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let printed = "";
    child.stdout.on("data", (data) => {
      printed += data;
    });
    const url = `http://127.0.0.1:${port}`;
    // As the page of an earlier run does, which comes back as soon as it can.
    const login = await vi.waitFor(() => fetch(`${url}/login?user=ada`), {
      timeout: patienceMs,
      interval: 20,
    });
    const { gateway } = (await login.json()) as { gateway: string };
    expect(gateway).toMatch(/^http:/);
    await expect.poll(() => printed).toContain(`\nOpen          ${url}\n`);
    expect(printed).toContain(gateway);
    expect(await (await fetch(url)).text()).toContain("<title>Folio</title>");
    for (const origin of [url, `http://localhost:${port}`]) {
      const { headers } = await fetch(`${gateway}/pdf.v1.PdfService/GetInfo`, {
        method: "OPTIONS",
        headers: { Origin: origin, "Access-Control-Request-Method": "POST" },
      });
      expect(headers.get("access-control-allow-origin")).toBe(origin);
    }
    const pids = [...printed.matchAll(/pid (\d+)(?: and (\d+))?/g)].flatMap(([, ...its]) => its);
    expect(pids.filter(Boolean).length).toBe(4);

    const exited = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    for (const pid of pids.filter(Boolean)) {
      expect(() => process.kill(Number(pid), 0)).toThrow("ESRCH");
    }
  });

  test.for([
    [
      "a port that is in use",
      (): string => new URL(web.url).port,
      /^\[failed_precondition\] port \d+ is in use: name another one, as in PORT=\d+ npm run web\n$/,
    ],
    ["a PORT that is none", (): string => "abc", /^\[invalid_argument\] PORT is "abc": .*\n$/],
  ] as const)("npm run web refuses %s", async ([, port, text]) => {
    const { code, stdout, stderr } = await run(process.execPath, ["--import", "tsx", main], {
      PORT: port(),
    });
    expect({ code, stdout, stderr }).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(text),
    });
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
