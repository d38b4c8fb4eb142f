-- For ldap.conf: in Basic credentials DOMAIN\user becomes user, for the one domain of the
-- configuration. Any other domain stays, and no user is found by that name.
require 'apache2'

function bare_name(r)
    local domain = r.subprocess_env['SCEP_LDAP_DOMAIN']
    local credentials = r.headers_in['Authorization']
    local encoded = credentials and credentials:match('^[Bb][Aa][Ss][Ii][Cc]%s+(%S+)%s*$')

    if not domain or not encoded then
        return apache2.DECLINED
    end
    local name, password = r:base64_decode(encoded):match('^([^:]*)(:.*)$')
    local before, user
    if name then
        before, user = name:match('^([^\\]+)\\([^\\]+)$')
    end
    if before and before:lower() == domain:lower() then
        r.headers_in['Authorization'] = 'Basic ' .. r:base64_encode(user .. password)
    end
    return apache2.DECLINED
end
