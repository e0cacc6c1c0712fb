/** A mistake in the .proto files or the options; the text says where it is and how to mend it. */
export class GenerationError extends Error {}
