"""Small named rewrites of derivative terms; the primal program is never rewritten."""
