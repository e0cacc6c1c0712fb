import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { run } from "./run.js";

const top = join(import.meta.dirname, "..");
const dashboards = join(top, "infrastructure/monitoring/dashboards");

/** Grafana's own types, with the values that JSON has in place of enums. */
const types = `
import type { Dashboard, Panel } from "@grafana/schema";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as time from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type { Dashboard as Raw } from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";

type Json<T> = T extends string ? \`\${T}\`
  : T extends number | boolean | null | undefined ? T extends number ? number : T
  : T extends readonly (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]?: Json<T[K]> } : T;

interface Target {
  refId: string;
  datasource: { type: "prometheus"; uid: "\${datasource}" };
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  format?: "table";
}
type PanelOf<Type, Options, Custom> = Omit<Json<Panel>, "type" | "options" | "fieldConfig" | "targets"> & {
  type: Type;
  title: string;
  options: Json<Options>;
  fieldConfig: Json<NonNullable<Panel<unknown, Custom>["fieldConfig"]>>;
  targets: Target[];
};
type Shown = Omit<Json<Raw & Dashboard>, "panels"> & {
  panels: (
    | PanelOf<"stat", stat.Options, object>
    | PanelOf<"timeseries", time.Options, time.FieldConfig>
    | PanelOf<"table", table.Options, table.FieldConfig>
  )[];
};
`;

test("dashboards have the fields and values that Grafana has", async () => {
  mkdirSync(join(top, "out"), { recursive: true });
  const folder = mkdtempSync(join(top, "out/dashboards-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const names = readdirSync(dashboards);
  const texts = new Map(
    names.map((name) => [name, readFileSync(join(dashboards, name), "utf8")] as const),
  );
  texts.set("wrong", '{ "panels": [{ "type": "timeseries", "titel": "x" }] }');
  for (const [name, text] of texts) {
    writeFileSync(join(folder, `${name}.ts`), `${types}\nexport const it: Shown = ${text};\n`);
  }
  const files = [...texts.keys()].map((name) => join(folder, `${name}.ts`));
  const options = [
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    "--module",
    "nodenext",
    "--types",
    "node",
  ];
  const tsc = join(top, "node_modules/typescript/bin/tsc");
  const { stdout } = await run(process.execPath, [tsc, ...options, ...files]);
  const errors = stdout.split("\n").filter((line) => line.includes("error"));
  expect(errors.filter((line) => !line.includes("wrong.ts"))).toEqual([]);
  expect(errors.join()).toContain("titel");
});

test("panels of a dashboard have places of their own", () => {
  for (const name of readdirSync(dashboards)) {
    const { panels } = JSON.parse(readFileSync(join(dashboards, name), "utf8")) as {
      panels: { id: number; gridPos: { x: number; y: number; w: number; h: number } }[];
    };
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
    );
    expect(new Set(cells).size, name).toBe(cells.length);
    expect(new Set(panels.map(({ id }) => id)).size, name).toBe(panels.length);
  }
});
