// A keyboard at a page: where the focus is, in which order it goes on, and that it is seen.

import assert from 'node:assert/strict'

/** Who has the focus: its name, where it is, and whether a person sees that it has it. `null`: nobody. */
export function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement
    if (!element || element === document.body) return null
    const style = getComputedStyle(element)
    const box = element.getBoundingClientRect()
    const [x, y] = [box.left + box.width / 2, box.top + Math.min(box.height / 2, 20)]
    const onTop = document.elementFromPoint(x, y)
    const label = element.labels?.[0] ?? element
    const seen = label.innerText.split('\n')[0].trim()
    const readAloud = label.querySelector('.spoken')?.textContent.trim()
    return {
      name: readAloud ? `${seen} ${readAloud}` : seen,
      top: Math.round(box.top + window.scrollY),
      left: Math.round(box.left),
      outlined: element.matches(':focus-visible') && style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2,
      // Boxes lie between pixels, and scrolling stops at whole ones.
      inView: box.top > -1 && box.bottom < window.innerHeight + 1 && box.left > -1 && box.right < window.innerWidth + 1,
      uncovered: element.contains(onTop) || onTop?.contains(element) || false,
    }
  })
}

/** Tabs once around the page. Every stop is seen, and they come in the order in which the page is read. */
export async function tabOrder(page) {
  const stops = []
  let passedTheEnd = 0
  for (let presses = 0; presses < 40 && passedTheEnd < 2; presses += 1) {
    await page.keyboard.press('Tab')
    const stop = await focused(page)
    if (!stop) passedTheEnd += 1
    // The first round may begin in the middle, at a field that has the focus from the start.
    else if (passedTheEnd === 1) stops.push(stop)
  }
  assert.equal(passedTheEnd, 2, 'the focus is caught somewhere')
  for (const [index, stop] of stops.entries()) {
    assert(stop.outlined && stop.inView && stop.uncovered, `the focus is not seen: ${JSON.stringify(stop)}`)
    const before = stops[index - 1]
    const inOrder = !before || stop.top > before.top || (stop.top === before.top && stop.left > before.left)
    assert(inOrder, `${before?.name} comes before ${stop.name}`)
  }
  return stops.map((stop) => stop.name)
}

export async function tabTo(page, name) {
  for (let presses = 0; presses < 40; presses += 1) {
    if ((await focused(page))?.name.startsWith(name)) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`Tab never reaches ${name}`)
}
