import { existsSync } from "node:fs";
import { type Browser, type BrowserContext, chromium } from "playwright-core";

/** Debian's. CI has it. */
const executablePath = "/usr/bin/chromium";

/** False where tests of pages are skipped. */
export const hasChromium = existsSync(executablePath) || process.env["CI"] !== undefined;

/** Starts a browser that calls nobody but the pages. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** A browser of its own, with nothing stored. What its pages complain of is added to `problems`. */
export async function openContext(
  browser: Browser,
  problems: string[],
  options: Parameters<Browser["newContext"]>[0] = {},
): Promise<BrowserContext> {
  const context = await browser.newContext(options);
  context.on("weberror", (error) => problems.push(String(error.error())));
  context.on("console", (message) => {
    // React warns there, and the browser tells what the policy of the page refused.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
      problems.push(message.text());
    }
  });
  return context;
}
