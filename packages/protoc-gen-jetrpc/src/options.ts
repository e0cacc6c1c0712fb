/** The generator's own options; those of every protoplugin come on top. */
export interface Options {
  /** Scope of the packages' names, with its `@`; empty for none. */
  readonly npmScope: string;
  /** Version of the packages. */
  readonly npmVersion: string;
  /** License of the packages, as an SPDX expression. */
  readonly npmLicense: string;
}

const defaults: Options = { npmScope: "", npmVersion: "0.1.0", npmLicense: "UNLICENSED" };

/** Reads `npm_scope=@acme,npm_version=1.2.3,npm_license=MIT`. Throws on what it does not know. */
export function parseOptions(raw: { key: string; value: string }[]): Options {
  const options: { -readonly [K in keyof Options]: Options[K] } = { ...defaults };
  for (const { key, value } of raw) {
    switch (key) {
      case "npm_scope":
        check(key, value, /^@[a-z0-9~][a-z0-9._~-]*$/, "a scope such as @acme");
        options.npmScope = value;
        break;
      case "npm_version":
        check(
          key,
          value,
          /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/,
          "a version such as 1.2.3",
        );
        options.npmVersion = value;
        break;
      case "npm_license":
        check(key, value, /./, "an SPDX expression such as Apache-2.0");
        options.npmLicense = value;
        break;
      default:
        throw new Error(`"${key}" is unknown: there are npm_scope, npm_version and npm_license`);
    }
  }
  return options;
}

function check(key: string, value: string, pattern: RegExp, wanted: string): void {
  if (!pattern.test(value)) {
    throw new Error(`${key}=${value} must be ${wanted}`);
  }
}
