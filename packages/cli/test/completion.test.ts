import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { offered } from "../src/completion/values.js";
import { jetrpc, serviceOf, useShop } from "./support.js";

const shop = useShop();
const bin = join(import.meta.dirname, "../../../node_modules/.bin");
let image: string;
let scripts: Record<"bash" | "zsh" | "fish", string>;

beforeEach(async () => {
  image = shop.project.image();
  const write = async (shell: string) => {
    const path = join(shop.project.folder, `completion.${shell}`);
    writeFileSync(path, (await jetrpc(["completion", shell])).stdout);
    return path;
  };
  scripts = { bash: await write("bash"), zsh: await write("zsh"), fish: await write("fish") };
});

const env = () => ({
  PATH: `${bin}:${process.env["PATH"]}`,
  NATS_URL: shop.server.url,
  JETRPC_DESCRIPTORS: image,
  TERM: "dumb",
  HOME: shop.project.folder,
});

/** Stores calls with these ids. */
async function store(...ids: string[]): Promise<void> {
  await shop.worker(serviceOf(image), { order: () => ({ text: "done" }) } as never);
  const client = await shop.client(serviceOf(image));
  for (const callId of ids) {
    await (await client.order.submit({ text: "1" }, { callId })).result();
  }
}

/** False where a shell is missing, and this is not CI. */
const has = (shell: string) =>
  spawnSync(shell, ["--version"]).status === 0 || process.env["CI"] !== undefined;

/** Shells that people type in: how they are started, and what they read first. */
const shells = {
  bash: { command: "bash --norc --noprofile -i", setup: () => `source '${scripts.bash}'` },
  zsh: {
    command: "zsh -f -i",
    setup: () => `autoload -U compinit; compinit -u -D; source '${scripts.zsh}'`,
  },
};

/**
 * Types a line into a shell in a terminal, and Tab until the terminal shows what is wanted: on a busy
 * machine `jetrpc complete` gives up before it has found anything.
 */
async function types(shell: keyof typeof shells, line: string, wanted: RegExp): Promise<void> {
  const { command, setup } = shells[shell];
  // `script` of util-linux runs a command in a terminal of its own.
  const child = spawn("script", ["--quiet", "--flush", "--command", command, "/dev/null"], {
    cwd: shop.project.folder,
    env: { ...env(), PS1: "$ " },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let shown = "";
  child.stdout.on("data", (chunk) => {
    shown += chunk;
  });
  child.stdin.write(`${setup()}; echo set''up\n`);
  await expect.poll(() => shown).toContain("setup\r\n");
  shown = "";
  child.stdin.write(line);
  // A terminal shows more than text: where the cursor goes, and spaces to the end of a line.
  const text = () => stripVTControlCharacters(shown).replaceAll(/\p{Cc}/gu, "");
  const pressTab = () => {
    if (!wanted.test(text())) {
      child.stdin.write("\t");
    }
    return text();
  };
  await expect.poll(pressTab, { interval: 1000 }).toMatch(wanted);
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

const inTerminal = (["bash", "zsh"] as const).filter((shell) => has(shell) && has("script"));

test.each(inTerminal)("%s completes commands, options and files", async (shell) => {
  await types(shell, "jetrpc dea", /jetrpc dead /);
  await types(shell, "jetrpc calls fol", /jetrpc calls follow /);
  await types(shell, "jetrpc dead replay --a", /jetrpc dead replay --all /);
  await types(shell, "jetrpc apply --descriptors completion.b", /completion\.bash /);
});

test.each(inTerminal)("%s completes methods and ids", async (shell) => {
  await store("order:42=a", "order:42=b", "invoice-1");
  await types(shell, "jetrpc call Pri", /jetrpc call Price /);
  await types(shell, "jetrpc pause shop.v1.ShopService/O", /ShopService\/Order /);
  await types(shell, "jetrpc queues --service sho", /--service shop\.v1\.ShopService /);
  await types(shell, "jetrpc calls show inv", /calls show invoice-1 /);
  // Bash ends a word at : and at =.
  await types(shell, "jetrpc calls show order:4", /calls show order:42=/);
  await types(shell, "jetrpc calls show order:42=a", /calls show order:42=a /);
  const server = `--server ${shop.server.url}`;
  await types(shell, `jetrpc calls cancel ${server} inv`, /invoice-1 /);
});

test.runIf(has("fish"))("fish completes commands, options, files, methods and ids", async () => {
  await store("order:42=a", "invoice-1");
  const complete = (line: string) =>
    execFileSync("fish", ["--no-config", "-c", `source '${scripts.fish}'; complete -C '${line}'`], {
      encoding: "utf8",
      env: env(),
      cwd: shop.project.folder,
    })
      .trim()
      .split("\n")
      .map((each) => each.split("\t")[0]);
  // A busy machine may give up once, as in types().
  await expect.poll(() => complete("jetrpc dea")).toEqual(["dead"]);
  await expect.poll(() => complete("jetrpc dead replay --a")).toEqual(["--all"]);
  await expect
    .poll(() => complete("jetrpc apply --descriptors completion.f"))
    .toEqual(["completion.fish"]);
  await expect.poll(() => complete("jetrpc call Pri")).toEqual(["Price"]);
  await expect.poll(() => complete("jetrpc queues --service sho")).toEqual(["shop.v1.ShopService"]);
  await expect.poll(() => complete("jetrpc calls show ")).toEqual(["invoice-1", "order:42=a"]);
  await expect
    .poll(() => complete(`jetrpc calls cancel --server ${shop.server.url} inv`))
    .toEqual(["invoice-1"]);
});

test("the scripts ask `jetrpc complete` for the last of some words", async () => {
  await store("invoice-1", "invoice-2");
  const complete = async (...words: string[]) => {
    const { code, stdout, stderr } = await jetrpc(["complete", "--", ...words], { env: env() });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout.split("\n").slice(0, -1);
  };
  await expect.poll(() => complete("calls", "show", "")).toEqual(["invoice-1", "invoice-2"]);
  expect(await complete("calls", "show", "invoice-1", "")).toEqual([]);
  expect(await complete("calls", "list", "inv")).toEqual([]);
  await expect.poll(() => complete("calls", "list", "--method", "Or")).toEqual(["Order"]);
  await expect.poll(() => complete("call", "--timeout", "3s", "Pri")).toEqual(["Price"]);
  expect(await complete("call", "--output", "Pri")).toEqual([]);
  expect(await complete("dead", "show", "")).toEqual([]);
  expect(await complete("calls", "show", "--own")).toEqual([]);
  expect(await complete("nothing", "")).toEqual([]);
  // Who types wants no error of a server that is not there.
  const gone = { ...env(), NATS_URL: "nats://127.0.0.1:1" };
  expect(await jetrpc(["complete", "--", "calls", "show", ""], { env: gone })).toEqual({
    code: 0,
    stdout: "",
    stderr: "",
  });
});

test("what a shell would run is not offered", () => {
  const found = [
    "order:1",
    "order:$(reboot)",
    "order:`id`",
    "order:1;id",
    "order:a b",
    "other",
    "order:1",
  ];
  expect(offered(found, "order:")).toEqual(["order:1"]);
});
