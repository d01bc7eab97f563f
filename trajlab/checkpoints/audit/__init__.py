"""Is a published series what it says? Facts of files and tensors, and the faults that they show.

`tensor_facts` reads tensors, `listing` holds what is known of files without reading them, `listing_faults` and
`tensor_faults` find what is wrong, each `fault` with its kind.
"""
