import { buffer } from "node:stream/consumers";
import type { ReadTextResponse } from "@jetrpc-examples/image-v1-client";
import type { RenderPagesResponse } from "@jetrpc-examples/pdf-v1-client";
import PDFDocument from "pdfkit";

/** A picture of a page, and the lines that were read of it. */
export interface ReadPage {
  readonly picture: Pick<RenderPagesResponse, "image" | "width" | "height">;
  readonly lines: readonly ReadTextResponse[];
}

/** Makes a PDF of pictures of pages. Over each lies its text, which is found and copied, and not seen. */
export function searchablePdf(pages: readonly ReadPage[], dpi: number): Promise<Buffer> {
  const pdf = new PDFDocument({ autoFirstPage: false, margin: 0 });
  const points = 72 / dpi;
  for (const { picture, lines } of pages) {
    const size: [number, number] = [picture.width * points, picture.height * points];
    pdf.addPage({ size }).image(Buffer.from(picture.image), 0, 0, { width: size[0] });
    // Text rendering mode 3 of PDF: letters are neither filled nor outlined.
    pdf.font("Helvetica").addContent("3 Tr");
    for (const { text, corners } of lines.filter((line) => line.text !== "")) {
      const [a, b, , d] = corners.map(({ x, y }) => ({ x: x * points, y: y * points }));
      if (a && b && d) {
        pdf.save().translate(a.x, a.y);
        pdf.rotate((Math.atan2(b.y - a.y, b.x - a.x) * 180) / Math.PI);
        pdf.fontSize(Math.hypot(d.x - a.x, d.y - a.y) * 0.8);
        pdf.scale(Math.hypot(b.x - a.x, b.y - a.y) / pdf.widthOfString(text), 1);
        pdf.text(text, 0, 0, { lineBreak: false }).restore();
      }
    }
  }
  pdf.end();
  return buffer(pdf);
}
