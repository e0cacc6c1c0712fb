import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { type Call, ConnectError, type Durable, type SubmitOptions } from "@jetrpc/runtime";
import { useCallback, useMemo, useRef, useState } from "react";

/** Submits calls of a method, and shows how far the last submission is. */
export interface SubmitView<I extends DescMessage, C> {
  /**
   * Submits a call. Resolves when the server has stored it; to undefined when it has not: then
   * `error` says why. Never rejects. The same function while the method is the same.
   */
  submit(request: MessageInitShape<I>, options?: SubmitOptions): Promise<C | undefined>;
  /** The id of the last call that was accepted, for `useCall()`. */
  readonly callId: string | undefined;
  /** True until the server has answered. */
  readonly isSubmitting: boolean;
  /** The reason why the last call was not accepted. Errors: those of `submit()` of the method. */
  readonly error: ConnectError | undefined;
  /** Forgets the call and the error; the call goes on. */
  reset(): void;
}

interface Submission {
  /** Of which method. */
  readonly method: object | undefined;
  readonly callId: string | undefined;
  readonly isSubmitting: boolean;
  readonly error: ConnectError | undefined;
}

const none: Submission = {
  method: undefined,
  callId: undefined,
  isSubmitting: false,
  error: undefined,
};

/**
 * Submits calls of a durable method. A call that was submitted goes on without the component. With
 * another method it begins anew: an id says nothing of calls of that one.
 */
export function useSubmit<I extends DescMessage, C extends Call>(
  method: Durable<I, C>,
): SubmitView<I, C> {
  const [latest, setSubmission] = useState(none);
  const submission = latest.method === method ? latest : none;
  // The answer to an earlier submission says nothing of the last one.
  const last = useRef(0);
  const submit = useCallback(
    async (request: MessageInitShape<I>, options?: SubmitOptions) => {
      last.current++;
      const number = last.current;
      const show = (change: Partial<Submission>) => {
        if (last.current === number) {
          setSubmission((before) => ({
            ...(before.method === method ? before : none),
            method,
            error: undefined,
            ...change,
          }));
        }
      };
      show({ isSubmitting: true });
      try {
        const call = await method.submit(request, options);
        show({ isSubmitting: false, callId: call.id });
        return call;
      } catch (thrown) {
        // That of a file which cannot be read any more is another one.
        show({ isSubmitting: false, error: ConnectError.from(thrown) });
        return undefined;
      }
    },
    [method],
  );
  const reset = useCallback(() => {
    last.current++;
    setSubmission(none);
  }, []);
  return useMemo(() => {
    const { method: _, ...shown } = submission;
    return { ...shown, submit, reset };
  }, [submission, submit, reset]);
}
