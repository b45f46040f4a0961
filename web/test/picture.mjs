// Pictures the page after it has heard a sample: node web/test/picture.mjs FILE.png

import { DIST, launch, open } from "./browser.mjs";
import { serve } from "./server.mjs";

const server = await serve({ "/dist/": DIST });
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 860, height: 1100 }, colorScheme: "light" });
const page = await open(context, `${server.url}/dist/index.html`);
await page.getByRole("button", { name: "up eight right" }).click();
await page.locator("#figure").waitFor({ state: "visible" });
await page.evaluate(() => scrollTo(0, 0));
await page.screenshot({ path: process.argv[2], clip: { x: 0, y: 0, width: 860, height: 1010 } });
await browser.close();
await server.close();
