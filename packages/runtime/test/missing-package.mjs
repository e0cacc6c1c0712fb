// Connects where a package is not installed: `missing-package.mjs <package>`.
import { register } from "node:module";

const missing = process.argv[2];
const hooks = `export async function resolve(specifier, context, next) {
  if (specifier === ${JSON.stringify(missing)}) {
    throw Object.assign(new Error("it is not installed"), { code: "ERR_MODULE_NOT_FOUND" });
  }
  return next(specifier, context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

const { connect } = await import("@jetrpc/runtime/node");
const { code, rawMessage, cause } = await connect().then(
  () => ({ rawMessage: "it was not missed" }),
  (error) => error,
);
console.log(JSON.stringify({ code, rawMessage, cause: cause?.message }));
