import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";

const axe = readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds in a page as it is now. */
export async function axeFindings(page: Page) {
  // A policy of the page would refuse a script in a tag.
  await page.evaluate(await axe);
  return await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
    const { violations } = await axe.run();
    return violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      where: nodes.map(({ html }) => html),
    }));
  });
}

/** The widths of a page: it scrolls to the side where `scroll` is above `client`. */
export async function widthsOf(page: Page): Promise<{ scroll: number; client: number }> {
  return await page.evaluate(
    "({ scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth })",
  );
}
