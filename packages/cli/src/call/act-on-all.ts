import type { BulkAct, BulkFilter } from "@jetrpc/runtime/operator";
import { codeName } from "@jetrpc/runtime/schema";
import { askedToEnd } from "../asked-to-end.js";
import { actToTheEnd } from "../closed-output.js";
import { Exit, ExitCode } from "../exit-code.js";
import type { ServiceOperator } from "../operators.js";
import { oneLine, print, printJson, printLog } from "../output.js";
import { ProgressBar } from "./progress-bar.js";

/** How an act on many calls goes. */
interface ActOptions {
  readonly json: boolean | undefined;
  readonly dryRun: boolean;
  readonly resumeToken: string | undefined;
}

const words = { cancel: "canceled", replay: "replayed", discard: "discarded" } as const;

/**
 * Does something with all calls that fit a filter: progress on a terminal, the count at the end,
 * each failure on stderr. Returns how many fit. Throws what ends the command when one failed or it was cut short.
 */
export async function actOnAll(
  act: BulkAct,
  operators: readonly ServiceOperator[],
  filter: BulkFilter,
  { json, dryRun, resumeToken }: ActOptions,
): Promise<number> {
  if (!dryRun) {
    actToTheEnd();
  }
  const bar = new ProgressBar();
  const signal = askedToEnd();
  let [matched, failed] = [0, 0];
  for (const { service, operator } of operators) {
    const { typeName } = service;
    const result = await operator.actOnCalls(act, filter, {
      dryRun,
      resumeToken,
      signal,
      onProgress: ({ matched, done }) =>
        bar.show({
          done: dryRun ? matched : done,
          total: 0,
          message: `${words[act]}, ${typeName}`,
        }),
    });
    bar.clear();
    matched += result.matched;
    failed += result.failed;
    for (const { method, owner, callId, error } of result.failures) {
      const why = `${codeName(error.code)}: ${oneLine(error.rawMessage)}`;
      printLog(`${typeName}.${method} ${owner} ${callId}: ${why}`, json);
    }
    if (json) {
      const { matched, done, skipped, failed, resumeToken: token, isComplete } = result;
      const rest = isComplete ? {} : { resumeToken: token };
      printJson({ service: typeName, act, dryRun, matched, done, skipped, failed, ...rest });
    } else if (dryRun) {
      print(`${result.matched} calls of ${typeName} would be ${words[act]}`);
    } else {
      print(`${words[act]} ${result.done} calls of ${typeName}`);
    }
    if (!result.isComplete) {
      printLog(
        `cut short: go on with the same words and --service ${typeName} --resume ${result.resumeToken}`,
        json,
      );
      throw new Exit(ExitCode.interrupted);
    }
  }
  if (failed > 0) {
    throw new Exit(ExitCode.failed);
  }
  return matched;
}
