import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

/** The Markdown pages of the repository: do their links and tables work where they are shown? */
const top = join(import.meta.dirname, "..");
const pages = execFileSync("git", ["ls-files", "*.md"], { cwd: top })
  .toString()
  .trim()
  .split("\n")
  .filter((page) => !page.includes("/fixtures/"));

/** A page without its code, which may look like a link or a table. */
function proseOf(page: string): string {
  return readFileSync(join(top, page), "utf8").replaceAll(/^( *)```.*?^\1```$/gms, "");
}

/** The anchors that GitHub makes of the headings of a page. */
function anchorsOf(page: string): string[] {
  return [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test("every link within the repository leads somewhere", () => {
  const dead = pages.flatMap((page) =>
    [...proseOf(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)]
      .map(([, link = ""]) => link)
      .filter((link) => {
        const [path, anchor] = link.split("#") as [string, string?];
        const target = path === "" ? page : normalize(join(dirname(page), path));
        if (!existsSync(join(top, target))) {
          return true;
        }
        const isPage = target.endsWith(".md") && statSync(join(top, target)).isFile();
        return anchor !== undefined && isPage && !anchorsOf(target).includes(anchor);
      })
      .map((link) => `${page}: ${link}`),
  );
  expect(dead).toEqual([]);
});

test("the index of docs/ names every page of it", () => {
  const index = proseOf("docs/README.md");
  const missing = pages
    .map((page) => /^docs\/([\w-]+\.md)$/.exec(page)?.[1])
    .filter((name) => name !== undefined && name !== "README.md" && !index.includes(`(${name}`));
  expect(missing).toEqual([]);
});

test("every row of a table has as many cells as its heading", () => {
  const broken = pages.flatMap((page) =>
    [...proseOf(page).matchAll(/(?:^ *\|.*\|\s*$\n?)+/gm)].flatMap(([table]) => {
      const rows = table.trim().split("\n");
      const cells = (row: string) => row.replaceAll("\\|", "").split("|").length;
      return rows
        .filter((row) => cells(row) !== cells(rows[0] as string))
        .map((row) => `${page}: ${row.slice(0, 80)}`);
    }),
  );
  expect(broken).toEqual([]);
});
