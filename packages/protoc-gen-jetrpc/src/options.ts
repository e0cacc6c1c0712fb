import { GenerationError } from "./generation-error.js";

/** The options that the user chooses. */
export interface Options {
  /** Scope of the packages' names, with its `@`; empty for none. */
  readonly npmScope: string;
  /** Version of the packages, unless they have one of their own. */
  readonly npmVersion: string;
  /** Versions of single packages, by the names of their proto packages. */
  readonly npmVersions: ReadonlyMap<string, string>;
  /** License of the packages, as an SPDX expression. */
  readonly npmLicense: string;
  /** The options that every plugin of protobuf-es has, as they were given: `ts_nocheck=true`. */
  readonly shared: readonly string[];
}

const known = "npm_scope, npm_version, npm_license, ts_nocheck and elide_plugin_version";

/** Packages are ES modules and CommonJS, made of TypeScript that imports `.js`. */
const fixed: Record<string, string> = {
  target: "ts",
  import_extension: "js",
  js_import_style: "module",
};

/** Reads `npm_scope=@acme,npm_version=1.2.3,npm_version=pdf.v1:2.0.0,npm_license=MIT`. */
export function parseOptions(parameter: string): Options {
  let npmScope = "";
  let npmVersion = "0.1.0";
  let npmLicense = "UNLICENSED";
  const npmVersions = new Map<string, string>();
  const shared: string[] = [];
  for (const option of parameter.split(",").filter((text) => text !== "")) {
    const [, key = "", value = ""] = /^([^=]*)=?(.*)$/s.exec(option) ?? [];
    switch (key) {
      case "npm_scope":
        check(option, value, /^@[a-z0-9~][a-z0-9._~-]*$/, "a scope such as @acme");
        npmScope = value;
        break;
      case "npm_version": {
        const [, name, version = ""] = /^(?:([\w.]*):)?(.*)$/s.exec(value) ?? [];
        const semver = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;
        check(option, version, semver, "a version such as 1.2.3 or, of one package, pdf.v1:1.2.3");
        if (name === undefined) {
          npmVersion = version;
        } else {
          npmVersions.set(name, version);
        }
        break;
      }
      case "npm_license":
        check(option, value, /./, "an SPDX expression such as Apache-2.0");
        npmLicense = value;
        break;
      case "ts_nocheck":
      case "elide_plugin_version":
        check(option, value, /^(true|false|1|0)$/, "true or false");
        shared.push(option);
        break;
      default: {
        const own = Object.hasOwn(fixed, key) ? fixed[key] : undefined;
        if (own === undefined) {
          throw new GenerationError(`the option "${option}" is unknown: there are ${known}`);
        }
        if (value !== own) {
          throw new GenerationError(
            `the option "${option}" cannot be: packages are generated with "${key}=${own}"; remove it`,
          );
        }
      }
    }
  }
  return { npmScope, npmVersion, npmVersions, npmLicense, shared };
}

function check(option: string, value: string, pattern: RegExp, wanted: string): void {
  if (!pattern.test(value)) {
    throw new GenerationError(`the option "${option}" must be ${wanted}`);
  }
}
