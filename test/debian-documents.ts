import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Large documents that Debian ships: 29 MB with 950 pages, 7 MB with 1,151 pages. */
const documents = [
  {
    debianPackage: "lilypond-doc-pdf-fr",
    path: "usr/share/doc/lilypond/html/Documentation/notation.fr.pdf",
  },
  { debianPackage: "c++-annotations-pdf", path: "usr/share/doc/c++-annotations/cplusplus.pdf" },
];

const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "jetrpc/documents");

/** Paths of the documents, or why they are not to be had. */
export function findDebianDocuments(): { paths: string[] } | { reason: string } {
  try {
    return { paths: documents.map(({ debianPackage, path }) => find(debianPackage, path)) };
  } catch (error) {
    return { reason: `Debian's packages are not to be had: ${(error as Error).message}` };
  }
}

function find(debianPackage: string, path: string): string {
  const found = ["/", join(cache, debianPackage)].map((root) => join(root, path)).find(existsSync);
  return found ?? download(debianPackage, path);
}

/** Fetches a package by apt, which checks its signature, and unpacks it into the cache. */
function download(debianPackage: string, path: string): string {
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "download-"));
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  try {
    try {
      run("apt-get", "download", debianPackage);
    } catch {
      // The lists may be missing or old.
      run("apt-get", "update");
      run("apt-get", "download", debianPackage);
    }
    const deb = readdirSync(folder).find((name) => name.endsWith(".deb")) as string;
    run("dpkg-deb", "-x", deb, "unpacked");
    const target = join(cache, debianPackage);
    rmSync(target, { recursive: true, force: true });
    renameSync(join(folder, "unpacked"), target);
    return join(target, path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
