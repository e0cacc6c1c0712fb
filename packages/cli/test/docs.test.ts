import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import { expect, test } from "vitest";
import { serviceOf, useShop } from "./support.js";

/** Does what docs/cli.md does, to the letter. */
const shop = useShop();
const top = join(import.meta.dirname, "../../..");
const page = readFileSync(join(top, "docs/cli.md"), "utf8");

/** A command of the page, and what it prints there. */
interface Shown {
  readonly command: string;
  readonly output: string;
}

function blocksOf(language: string): string[] {
  const pattern = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms");
  return [...page.matchAll(pattern)].map(([, text]) => text as string);
}

const shown: Shown[] = blocksOf("console").flatMap((block) =>
  block
    .split(/^\$ /m)
    .slice(1)
    .map((text) => {
      const end = text.indexOf("\n");
      return { command: text.slice(0, end), output: text.slice(end + 1) };
    }),
);

/** Runs a command as a reader does, and returns all that it prints. */
async function shell(command: string): Promise<string> {
  const child = spawn("bash", ["-c", `exec 2>&1; ${command}`], {
    cwd: shop.project.folder,
    env: {
      PATH: `${join(top, "node_modules/.bin")}:${process.env["PATH"]}`,
      NATS_URL: shop.server.url,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  await once(child, "close");
  return output;
}

/** Without what is another one each time. */
function timeless(output: string): string {
  return (
    output
      .replaceAll(/20\d\d-\d\d-\d\dT[\d:.]+Z/g, "<time>")
      .replaceAll(/nats-server [\d.]+/g, "nats-server <version>")
      .replaceAll(/[\d.]+ [KM]?i?B used/g, "<bytes> used")
      .replaceAll(/\d+ ms$/gm, "<time>")
      // The age and the rates of a row of `top`.
      .replaceAll(
        /^(\S+) +(\d+) +(\d+) +\S+ +(\d+) +(\d+)( +[\d.]+){3} +/gm,
        "$1 $2 $3 <age> $4 $5 <rates> ",
      )
  );
}

async function letterService() {
  const image = join(shop.project.folder, "image.binpb");
  await shell(`buf build -o ${image}`);
  return serviceOf(image, "letters.v1.LetterService");
}

/** Makes the call of the page that fails for good. */
async function failLetter(): Promise<void> {
  const service = await letterService();
  const worker = await shop.worker(service, {
    write: () => {
      throw new ConnectError("nobody lives there", Code.NotFound);
    },
  });
  const client = await shop.client(service);
  const call = await client.write.submit({ to: "Ada" }, { callId: "letter-1" });
  await expect(call.result()).rejects.toMatchObject({ code: Code.NotFound });
  await worker.drain();
}

test("every command of docs/cli.md prints what it says there", async () => {
  const [contract] = blocksOf("proto");
  shop.project.write("proto/letters/v1/letters.proto", contract as string);
  expect(shown.length).toBeGreaterThan(10);
  let writer: { drain(): Promise<void> } | undefined;
  for (const { command, output } of shown) {
    if (command.startsWith("jetrpc call ") && !writer) {
      const write = ({ to }: { to: string }) => ({ text: `Dear ${to}` });
      writer = await shop.worker(await letterService(), { write } as never, { concurrency: 1 });
    }
    if (command === "jetrpc dead list") {
      await writer?.drain();
      await failLetter();
    }
    expect(`$ ${command}\n${timeless(await shell(command))}`).toBe(
      `$ ${command}\n${timeless(output)}`,
    );
  }
});
