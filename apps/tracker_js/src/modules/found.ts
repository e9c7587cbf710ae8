/** The nearest element that an event happened in and that matches, within open shadow roots, too. */
export const found = <T extends Element>(event: Event, selector: string): T | undefined =>
  event.composedPath().find((each): each is T => each instanceof Element && each.matches(selector));
