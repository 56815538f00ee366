-- Documents. A document's text: its revision, when it was changed, and from when on there is none any
-- more ('' for never), as instants of 19 digits; its body.

local DOCUMENT = '^(%d+) (%d+) (%d*)\n'

-- The revision that a document has now, '0' where there is none; when it expires; its text. No
-- revision where the text can't be understood.
local function standing(entry, now)
  local text = redis.call('HGET', DOCUMENTS, entry)
  if not text then
    return '0', '', nil
  end
  local revision, _, expires = string.match(text, DOCUMENT)
  if expires and expires ~= '' and expires <= now then
    revision = '0'
  end
  return revision, expires, text
end
