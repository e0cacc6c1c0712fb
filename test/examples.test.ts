import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const top = join(import.meta.dirname, "..");

/** The lines that an example prints. */
async function linesOf(example: string): Promise<string[]> {
  const tsx = join(top, "node_modules/.bin/tsx");
  const { stdout } = await run(tsx, [join(top, "examples", example)]);
  return stdout.trim().split("\n");
}

test("examples/blob does what it says", async () => {
  expect(await linesOf("blob/blob.ts")).toEqual([
    "submitted",
    "converted film.mp4: 3000000 bytes",
    "saved: true",
    "sum: 76200",
    "part cd00e292.part: 100 bytes",
    "part cd00e292.part: 100 bytes",
    "part cc2786e1.part: 50 bytes",
    'error: [already_exists] rpc video.v1.VideoService.Convert: call "film" exists with another request: use another call id, or attach to it',
    "swept: 0",
  ]);
});

test("examples/weather does what it says", async () => {
  const lines = await linesOf("weather/weather.ts");
  // How many it sees depends on who is first; the last one it sees in any case.
  const watched = lines.filter((line) => line.startsWith("watched"));
  expect(watched.at(-1)).toBe("watched: -9 degrees");
  expect(lines.slice(watched.length)).toEqual([
    "sent: 3 readings, -8 degrees on average",
    "latest: -9 degrees",
    "error: [not_found] station Atlantis has sent nothing yet",
    "warning: Seville: 36 degrees, drink water",
    "warning: Seville: 41 degrees, drink water",
    "service: weather.v1.WeatherService 1.0.0: GetReading (unary), WatchReadings (server_streaming), SendReadings (client_streaming), Warn (bidi_streaming)",
    "health: SERVING",
    'reflected: "[not_found] station Seville has sent nothing yet"',
    'json: {"reading":{"station":"Jungfraujoch","celsius":-9}}',
  ]);
});

test("examples/permissions does what it says", async () => {
  const tsx = join(top, "node_modules/.bin/tsx");
  const { stdout } = await run(tsx, [join(top, "examples/permissions/permissions.ts")]);
  expect(stdout.trim().split("\n")).toEqual([
    "pages: 3",
    "parts: 2",
    expect.stringMatching(
      /^merge: \[permission_denied\] these credentials may not publish on pdf.v1.PdfService.queue.Merge.shop.\S+: ask/,
    ),
    'another owner: [not_found] rpc pdf.v1.PdfService.Split: no call "order-1" of owner "press" is known: it was never accepted, or its result is older than its retention',
  ]);
});
