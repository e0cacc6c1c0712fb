/** The instrumentation scope of all that is reported. */
export const scope = { name: "@jetrpc/otel", version: "0.1.0" } as const;
