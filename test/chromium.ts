import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

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
