/** Where the rules for line length and plain words do not hold yet: the tests. */
export const NOT_YET = ['test/**']

/** The same for pages. */
export const PAGES_NOT_YET = []
