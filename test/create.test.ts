import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { freePorts } from "../packages/testing/src/free-ports.js";
import { hasChromium, launchChromium } from "./chromium.js";
import { hears, packPackages, run, tarballs } from "./own-repository.js";

/**
 * `npm create jetrpc`, and what it says to do next: as somebody does it who has nothing but npm,
 * with the packages as they are published.
 */
let packages: Map<string, string>;
beforeAll(async () => {
  packages = await packPackages();
}, 600_000);
afterAll(() => rmSync(tarballs, { recursive: true }));

/** A package manager: how it is run, and how it runs a package that is not installed. */
interface Manager {
  readonly name: "npm" | "pnpm";
  readonly command: readonly string[];
  execute(tarball: string): readonly string[];
}

const npm: Manager = {
  name: "npm",
  command: ["npm"],
  execute: (tarball) => ["exec", "--yes", `--package=${tarball}`, "--"],
};
const pnpmOf = (version: string): Manager => ({
  name: "pnpm",
  command: ["npx", "--yes", `pnpm@${version}`],
  execute: (tarball) => [`--package=${tarball}`, "dlx"],
});
const pnpm10 = pnpmOf("10.34.9");
const pnpm12 = pnpmOf("12.4.2");

/** A folder in which somebody makes repositories. */
class Newcomer {
  readonly home = mkdtempSync(join(tmpdir(), "jetrpc-create-"));
  readonly folder = join(this.home, "my-app");

  constructor(readonly manager: Manager) {
    onTestFinished(() => rmSync(this.home, { recursive: true, force: true }));
  }

  create(...args: string[]): Promise<string> {
    const tarball = packages.get("create-jetrpc") ?? "";
    const [command = "", ...rest] = this.manager.command;
    const all = [...rest, ...this.manager.execute(tarball), "create-jetrpc", ...args];
    return run(command, all, this.home);
  }

  run(...args: string[]): Promise<string> {
    const [command = "", ...rest] = this.manager.command;
    return run(command, [...rest, ...args], this.folder);
  }

  read(path: string): string {
    return readFileSync(join(this.folder, path), "utf8");
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.folder, path), text);
  }

  /** The packages are in no registry: they are taken from where they were packed. */
  usePacked(versions: Record<string, string> = {}): void {
    const manifest = JSON.parse(this.read("package.json"));
    for (const kind of ["dependencies", "devDependencies"]) {
      for (const name of Object.keys(manifest[kind])) {
        manifest[kind][name] = versions[name] ?? packages.get(name) ?? manifest[kind][name];
      }
    }
    if (this.manager.name === "npm") {
      manifest.overrides = Object.fromEntries(packages);
    } else {
      const overrides = [...packages].map(([name, path]) => `  "${name}": ${path}\n`).join("");
      this.write(
        "pnpm-workspace.yaml",
        `${this.read("pnpm-workspace.yaml")}overrides:\n${overrides}`,
      );
    }
    this.write("package.json", JSON.stringify(manifest, undefined, 2));
  }

  async install(): Promise<void> {
    await (this.manager.name === "npm"
      ? this.run("install", "--no-audit", "--no-fund", "--prefer-offline")
      : this.run("install", "--no-frozen-lockfile", "--prefer-offline"));
  }

  /** `npm run dev`, until its worker is ready. */
  async dev(): Promise<ChildProcess> {
    const [port] = await freePorts(1);
    this.write(".env", this.read(".env").replace("4222", String(port)));
    const [command = "", ...rest] = this.manager.command;
    const child = spawn(command, [...rest, "run", "dev"], {
      cwd: this.folder,
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    onTestFinished(() => endAll(child));
    await hears(child, /worker +│ ready/);
    return child;
  }
}

/** Ctrl-C reaches all processes of the terminal's group. */
async function endAll(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const closed = once(child, "close");
    process.kill(-(child.pid as number), "SIGINT");
    // Its output closes when the last process has ended that has it.
    await closed;
  }
}

describe("npm create jetrpc", { timeout: 1_800_000 }, () => {
  test("makes a repository that is tested, run and called with npm", async () => {
    const newcomer = new Newcomer(npm);
    const said = await newcomer.create("my-app");
    expect(said).toContain("cd my-app\n  npm install\n  npm run dev\n");
    expect(newcomer.read(".gitignore")).toContain(".env");
    newcomer.usePacked({ typescript: "7.0.2" });
    await newcomer.install();
    expect(await newcomer.run("test")).toMatch(/# pass 3\n# fail 0|pass 3\n.*fail 0/);
    await newcomer.run("run", "build");
    const dev = await newcomer.dev();
    expect(await newcomer.run("run", "client", "--", "Grace")).toMatch(
      /Hello, Grace!\ncall \S+ is stored\n.*Dear Grace, it was a pleasure/s,
    );
    await endAll(dev);
    await expect(newcomer.create("my-app")).rejects.toThrow("my-app is not empty");
  });

  test("makes a repository with a page, with pnpm", async () => {
    const newcomer = new Newcomer(pnpm12);
    expect(await newcomer.create("my-app", "--web")).toContain(
      "cd my-app\n  pnpm install\n  pnpm dev\n",
    );
    newcomer.usePacked();
    await newcomer.install();
    await newcomer.run("test");
    await newcomer.run("run", "build");
    expect(existsSync(join(newcomer.folder, "dist/web/index.html"))).toBe(true);
    await usePage(newcomer);
    expect(await newcomer.run("client", "Grace")).toContain("Dear Grace");
  });

  test("makes a repository with a page, with npm and TypeScript 7", async () => {
    const newcomer = new Newcomer(npm);
    await newcomer.create("my-app", "--web");
    newcomer.usePacked({ typescript: "7.0.2" });
    await newcomer.install();
    await newcomer.run("run", "build");
    await usePage(newcomer);
  });

  test("makes a repository without a page, with an older pnpm", async () => {
    const newcomer = new Newcomer(pnpm10);
    await newcomer.create("my-app", "--name", "@acme/my-app");
    newcomer.usePacked();
    await newcomer.install();
    await newcomer.run("test");
    await newcomer.dev();
    expect(await newcomer.run("client", "Grace")).toContain("Dear Grace");
  });
});

/** Opens the page of `npm run dev`, and calls both methods by it. */
async function usePage(newcomer: Newcomer): Promise<void> {
  const [gatewayPort, webPort] = await freePorts(2);
  const manifest = JSON.parse(newcomer.read("package.json"));
  manifest.scripts["dev:gateway"] += ` --listen 127.0.0.1:${gatewayPort}`;
  manifest.scripts["dev:web"] += ` --port ${webPort} --host 127.0.0.1`;
  newcomer.write("package.json", JSON.stringify(manifest, undefined, 2));
  newcomer.write(
    "vite.config.ts",
    newcomer.read("vite.config.ts").replace("127.0.0.1:8080", `127.0.0.1:${gatewayPort}`),
  );
  await newcomer.dev();
  const url = `http://127.0.0.1:${webPort}/`;
  const hello = async () => {
    const response = await fetch(new URL("greet.v1.GreetService/Hello", url), {
      method: "POST",
      // A browser says which page calls.
      headers: { "content-type": "application/json", origin: new URL(url).origin },
      body: JSON.stringify({ name: "Ada" }),
    }).catch(() => undefined);
    return await response?.text();
  };
  await expect.poll(hello).toBe(`{"greeting":"Hello, Ada!"}`);
  if (!hasChromium) {
    return;
  }
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(120_000);
    await page.goto(url);
    // Vite loads the page anew when it has found out what the page imports: a click may be lost.
    await expect
      .poll(async () => {
        await page.getByRole("button", { name: "Say hello" }).click();
        return await page.getByRole("status").textContent();
      })
      .toBe("Hello, Ada!");
    await page.getByRole("button", { name: "Write a letter" }).click();
    await page.getByText("Dear Ada, it was a pleasure").waitFor();
    await page.reload();
    await page.getByText("Dear Ada, it was a pleasure").waitFor();
  } finally {
    await browser.close();
  }
}
