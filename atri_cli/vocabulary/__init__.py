"""What people call each sound: the project's own concepts, a name and phrases in each language.

The tables beside this file hold them in the eight core languages by field, those in `more` in one
further language each; those in `forms` hold other ways in which people ask for them.
"""
