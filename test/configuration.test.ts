import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNats } from "@jetrpc/testing";
import { afterAll, expect, test } from "vitest";
import { OperatorMode } from "../packages/runtime/test/operator-mode.js";

const top = join(import.meta.dirname, "..");
const page = readFileSync(join(top, "docs/configuration.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "jetrpc-configuration-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A block of the page's example, with this test's folder and name for the server. */
function block(language: string, start: string, port = 4222): string {
  const blocks = [...page.matchAll(/```(\w+)\n(.*?)```/gs)].filter(([, name]) => name === language);
  const text = blocks.find(([, , content]) => content?.startsWith(start))?.[2];
  if (text === undefined) {
    throw new Error(`there is no block of ${language} that starts with ${start}`);
  }
  return text
    .replaceAll("/etc/nats", folder)
    .replaceAll("nats.example.com:4222", `localhost:${port}`)
    .replaceAll("nats.example.com", "localhost");
}

test("the example with TLS and creds connects", async () => {
  const operator = new OperatorMode();
  execFileSync("sh", ["-ec", block("sh", "new=")], { cwd: folder, stdio: "pipe" });
  writeFileSync(join(folder, "worker.creds"), operator.user().creds);
  const config = block("conf", "tls").replace(/^include .*$/m, operator.config());
  await using server = await startNats({ config });

  writeFileSync(join(folder, ".env"), block("sh", "NATS_URL", server.port));
  const variables = Object.entries(process.env).filter(([name]) => !/^(NATS|JETRPC)_/.test(name));
  const program = `
    import { connect } from ${JSON.stringify(join(top, "packages/runtime/dist/node.js"))};
    const connection = await connect();
    console.log((await connection.nats.request("$JS.API.INFO")).json().type);
    await connection.close();`;
  const printed = execFileSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: folder,
    env: Object.fromEntries(variables),
    encoding: "utf8",
  });
  expect(printed).toBe("io.nats.jetstream.api.v1.account_info_response\n");
});
